"""`evothesis backup`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, start
from evothesis.migrate import require_current


def command(config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    """Back up the database, into a folder and, encrypted, into a bucket.

    Where and how many: [backup] in the configuration. It may run at any time; events are taken and loaded meanwhile.

    \b
    Examples:
      evothesis backup
      evothesis backup --format json | jq .bytes
    """
    from evothesis.upkeep.backup import take
    from evothesis.upkeep.doctor import read_from

    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="backup") as connection:
        require_current(connection)
        taken = take(settings, read_from(config), connection, url, datetime.now(UTC))
    if form is Format.JSON:
        print(json.dumps(taken._asdict()))
        return
    print(f"{taken.folder}: {taken.bytes:,} bytes")
    if taken.destination:
        print(f"{taken.destination}: {taken.bytes_sent:,} bytes, encrypted")
    for name in taken.removed:
        print(f"removed {name}")

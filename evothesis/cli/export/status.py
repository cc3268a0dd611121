"""`evothesis export status`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, start
from evothesis.migrate import require_current

if TYPE_CHECKING:
    from evothesis.exporter.status import Status


def command(config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    """Say how far each destination is, and what keeps it.

    \b
    Examples:
      evothesis export status
      evothesis export status --format json | jq '.destinations[] | select(.lag.seconds > 3600)'
    """
    from evothesis.exporter.manifest import public_key, signing_key
    from evothesis.exporter.status import status

    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="export status") as connection:
        require_current(connection)
        found = status(settings, connection)
    key_path = settings.export.signing_key_path
    key = public_key(signing_key(key_path)) if key_path.exists() else None
    if form is Format.JSON:
        print(json.dumps({"public_key": key, "destinations": [_as_json(line) for line in found]}))
        return
    for line in found:
        _print(line)
    print(f"Manifests are signed with {key or 'a key that the first export makes'}")


def _as_json(line: Status) -> dict[str, Any]:
    fields = line._asdict() | {"lag": line.lag._asdict()}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}


def _print(line: Status) -> None:
    table = Table(title=f"{line.destination}, {line.url}", title_justify="left", show_header=False)
    published = f"{line.manifest:,}, published {_moment(line.published_at)}" if line.manifest else "none yet"
    table.add_row("manifest", published)
    table.add_row("rows", f"{line.rows:,} in {line.files['published']:,} files")
    behind = f"{line.lag.events:,} events in {line.lag.loads:,} loads, the oldest stored {_ago(line.lag.seconds)} ago"
    table.add_row("not delivered", behind if line.lag.loads else "nothing")
    table.add_row(
        "files", ", ".join(f"{count:,} {state}" for state, count in line.files.items() if state != "published")
    )
    table.add_row("last run", f"{_moment(line.tried_at)}, last good one {_moment(line.succeeded_at)}")
    table.add_row("creates", _CREATES[line.conditional])
    if line.error:
        table.add_row("failing", f"runs in a row: {line.failures:,}, attempts at its waiting files: {line.attempts:,}")
        table.add_row("error", line.error)
        table.add_row("try", line.hint or "run the export again")
    Console().print(table, markup=False)


_CREATES = {
    None: "not found out yet",
    True: "the store refuses to overwrite",
    False: "the store would overwrite: each object is looked at before, and one export runs at a time",
}


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "never"


def _ago(seconds: int) -> str:
    return str(timedelta(seconds=seconds))

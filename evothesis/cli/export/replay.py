"""`evothesis export replay`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, DestinationName, Format, FormatOption, print_error, progress, start
from evothesis.errors import UnreachableError
from evothesis.migrate import require_current

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M"]


def command(
    begin: Annotated[datetime, typer.Option("--from", formats=FORMATS, help="The first hour, in UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=FORMATS, help="The first hour that is left out, in UTC.")],
    config: ConfigPath = None,
    destination: DestinationName = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Deliver again what is missing from the destinations.

    Looks at each file and manifest of the hours from --from up to --to. What is there stays as it is. What is missing
    is made again from the database, or taken from another destination, with the very bytes that the manifests name.

    \b
    Examples:
      evothesis export replay --from 2026-11-22 --to 2026-11-23
      evothesis export replay --from 2026-11-22T09 --to 2026-11-22T12 --destination client
    """
    from evothesis.exporter.replay import replay

    settings = start(config)
    names = [known.name for known in settings.export.destination]
    if destination not in (None, *names):
        message = f"there is no destination {destination}: there is {', '.join(names)}"
        raise typer.BadParameter(message)
    chosen = [known for known in settings.export.destination if destination in (None, known.name)]
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="export") as connection:
        require_current(connection)
        with progress("looking") as advance:
            done = replay(
                settings,
                connection,
                advance,
                begin=begin.replace(tzinfo=UTC),
                end=end.replace(tzinfo=UTC),
                destinations=chosen,
            )
    if form is Format.JSON:
        delivered = [{"destination": name, "key": key} for name, key in done.delivered]
        problems = [{"destination": name, "key": key, "message": str(error)} for name, key, error in done.failed]
        print(json.dumps({"left": done.left, "delivered": delivered, "problems": problems}))
    else:
        for name, key in done.delivered:
            print(f"delivered again  {name}: {key}")
        print(f"{len(done.delivered):,} delivered again, {done.left:,} were there, {len(done.failed):,} failed.")
    for name, _, error in done.failed:
        print_error(f"{name}: {error}", error.hint)
    if done.failed:
        unreachable = all(isinstance(failure.error, UnreachableError) for failure in done.failed)
        raise typer.Exit(3 if unreachable else 1)

"""`evothesis export run`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, print_error, progress, start
from evothesis.errors import UnreachableError
from evothesis.migrate import require_current

if TYPE_CHECKING:
    from evothesis.exporter.publish import Published


def command(config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    """Plan all new loads and deliver everything that is due.

    May be run at any time, and again after any failure: what was delivered is not delivered twice. At its end, days
    that are older than database.retention_days and that every destination has are dropped from the database.

    \b
    Examples:
      evothesis export
      evothesis export run --format json
    """
    from evothesis.exporter.run import run as export

    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="export") as connection:
        require_current(connection)
        with progress("delivering") as advance:
            outcome = export(settings, connection, advance)
    if form is Format.JSON:
        exports = [published._asdict() for published in outcome.published]
        print(json.dumps({"exports": exports, "pending": outcome.pending}))
    else:
        _print_table(outcome.published, outcome.pending)
    for name, error in outcome.failed.items():
        print_error(f"{name}: {error}", error.hint)
    if outcome.failed:
        unreachable = all(isinstance(error, UnreachableError) for error in outcome.failed.values())
        raise typer.Exit(3 if unreachable else 1)


def _print_table(published: list[Published], pending: int) -> None:
    if not published:
        print(f"Nothing new to deliver; {pending} files pending.")
        return
    table = Table("destination", "manifest", "rows", "files", "bytes")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in published:
        table.add_row(line.destination, *(f"{value:,}" for value in line[1:]))
    Console().print(table)
    if pending:
        print(f"{pending} files pending.")

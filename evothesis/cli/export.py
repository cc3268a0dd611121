"""`evothesis export`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, start
from evothesis.errors import UnreachableError
from evothesis.migrate import require_current

if TYPE_CHECKING:
    from evothesis.exporter.publish import Published

FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]

app = typer.Typer(
    help="""Deliver stored events to every destination. Without a command: `export run`.

    \b
    Examples:
      evothesis export
      evothesis export --format json
    """,
)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    if context.invoked_subcommand is None:
        run(config=config, form=form)


@app.command("run")
def run(config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    """Plan all new loads and deliver everything that is due.

    May be run at any time, and again after any failure: what was delivered is not delivered twice.

    \b
    Examples:
      evothesis export
      evothesis export run --format json
    """
    from evothesis.exporter.run import run as export

    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="export") as connection:
        require_current(connection)
        with Progress(
            TextColumn("delivering"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        ) as bar:
            task = bar.add_task("files", total=None)
            outcome = export(settings, connection, lambda done, total: bar.update(task, completed=done, total=total))
    if form is Format.JSON:
        exports = [published._asdict() for published in outcome.published]
        print(json.dumps({"exports": exports, "pending": outcome.pending}))
    else:
        _print_table(outcome.published, outcome.pending)
    for name, error in outcome.failed.items():
        print(f"Error: {name}: {error}", file=sys.stderr)
        if error.hint:
            print(f"Try: {error.hint}", file=sys.stderr)
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

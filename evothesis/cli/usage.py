"""`evothesis usage`."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli import notify
from evothesis.cli.common import ConfigPath, shown, start
from evothesis.migrate import require_current
from evothesis.usage.meter import Month
from evothesis.usage.report import report

WIDTH_MIN = 120  # a narrower terminal breaks lines: better than a number that is cut off


app = typer.Typer()
app.command("notify")(notify.command)


class UsageFormat(StrEnum):
    """How usage is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class By(StrEnum):
    """What a line stands for."""

    SITE = "site"
    DAY = "day"


@app.callback(invoke_without_command=True)
def command(
    context: typer.Context,
    config: ConfigPath = None,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="A month in UTC, instead of the present one.", show_default=False),
    ] = None,
    by: Annotated[By, typer.Option(help="One line for each site, or for each day.")] = By.SITE,
    form: Annotated[UsageFormat, typer.Option("--format", help="How to print.")] = UsageFormat.TABLE,
) -> None:
    """Print a month's events and what they cost.

    Stored events are counted once; duplicates, rejected and withheld events are shown and not billed.

    \b
    Examples:
      evothesis usage
      evothesis usage --month 2026-11 --by day
      evothesis usage --format json | jq .amount
    """
    if context.invoked_subcommand is not None:
        return
    settings = start(config)
    chosen = Month.parse(month or f"{datetime.now(UTC):%Y-%m}")
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="usage") as connection:
        require_current(connection)
        result = report(connection, settings, chosen, by.value)
    {UsageFormat.TABLE: _print_table, UsageFormat.JSON: _print_json, UsageFormat.CSV: _print_csv}[form](result)


def _lines(result: dict[str, Any]) -> list[dict[str, Any]]:
    return result.get("sites") or result.get("days") or []


def _print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result))


def _print_csv(result: dict[str, Any]) -> None:
    name = "site_id" if "sites" in result else "day"
    columns = [name, "events", "billable", "duplicates", "bots", "rejected", "withheld", "amount"]
    writer = csv.DictWriter(sys.stdout, [*columns, "currency"], lineterminator="\r\n")  # RFC 4180
    writer.writeheader()
    for line in _lines(result):
        writer.writerow(line | {"currency": result["currency"]})


def _print_table(result: dict[str, Any]) -> None:
    by_site = "sites" in result
    title = f"{result['instance']}, {result['month']}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("site" if by_site else "day", overflow="fold", min_width=12)
    columns = ("events", "billable", "bots", "duplicates", "rejected", "withheld")
    for name in (*columns, result["currency"]):
        table.add_column(name, justify="right")
    for line in _lines(result):
        name = line["site_id"] if by_site else line["day"]
        table.add_row(shown(name), *(f"{line[column]:,}" for column in columns), line["amount"])
    table.add_section()
    table.add_row("total", *(f"{result[column]:,}" for column in columns), result["amount"], style="bold")
    console = Console()
    console.width = max(console.width, WIDTH_MIN)
    console.print(table)

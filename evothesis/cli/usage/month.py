"""`evothesis usage`: a month's events and what they cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, shown, start
from evothesis.cli.usage.form import COUNTS, UsageFormat, described, new_table, print_csv, print_wide, width_of
from evothesis.configuration import load
from evothesis.migrate import require_current
from evothesis.usage import invoice
from evothesis.usage.forecast import forecast
from evothesis.usage.loss import losses
from evothesis.usage.meter import Month, counts
from evothesis.usage.report import priced

BAR_WIDTH_MIN, BAR_WIDTH_MAX = 6, 30


class By(StrEnum):
    """What a line stands for."""

    SITE = "site"
    DAY = "day"


def command(  # noqa: PLR0913, PLR0917 - each is an option of the command
    context: typer.Context,
    config: ConfigPath = None,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="A month in UTC, instead of the present one.", show_default=False),
    ] = None,
    by: Annotated[By, typer.Option(help="One line for each site, or for each day.")] = By.SITE,
    what_if: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Show beside it what the [usage] of another TOML file would cost."),
    ] = None,
    loss: Annotated[
        bool, typer.Option("--loss", help="Show what browsers lost in the last 7 days; reads the events of these days.")
    ] = False,
    form: Annotated[UsageFormat, typer.Option("--format", help="How to print.")] = UsageFormat.TABLE,
) -> None:
    """Print a month's events and what they cost; close a month, correct its invoice.

    Stored events are counted once; duplicates, rejected and withheld events are shown and not billed. For the present
    month there is a forecast.

    \b
    Examples:
      evothesis usage
      evothesis usage --month 2026-11 --by day
      evothesis usage --what-if offer.toml
      evothesis usage --format json | jq .amount
    """
    if context.invoked_subcommand:
        if month or config:
            message = f"write the options behind {context.invoked_subcommand!r}"
            raise typer.BadParameter(message)
        return
    if loss and by is By.DAY:
        message = "--loss is by site; by day: select * from tracker_loss"
        raise typer.BadParameter(message)
    settings = start(config)
    other = load(what_if, {}).usage if what_if else None
    now = datetime.now(UTC)
    chosen = Month.parse(month) if month else Month.of(now)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="usage") as connection:
        require_current(connection)
        groups = counts(connection, chosen, by.value)
        closed = invoice.name(connection, chosen)
        expected = forecast(connection, settings.usage, chosen, now=now)
        lost = {one.site_id: one.lost for one in losses(connection, chosen)} if loss else None
    result = {"instance": settings.instance, "month": str(chosen)} | priced(groups, settings.usage, by.value)
    result |= {"forecast": expected, "invoice": closed}
    if other:
        _compare(result, priced(groups, other, by.value))
    if lost is not None:
        _add_loss(result, lost)
    {UsageFormat.TABLE: _print_table, UsageFormat.JSON: _print_json, UsageFormat.CSV: _print_csv}[form](result)
    if form is UsageFormat.TABLE and now >= chosen.end and result["events"] and not other:
        state = f"Invoice {closed}; to print it" if closed else "Not closed; to close it"
        print(f"{state}: evothesis usage close --month {chosen}")


def _compare(result: dict[str, Any], other: dict[str, Any]) -> None:
    result["what_if"] = {name: other[name] for name in ("billable", "amount", "currency", "lines")}
    for line, under_other in zip(_lines(result), _lines(other), strict=True):
        line["what_if_amount"] = under_other["amount"]


def _add_loss(result: dict[str, Any], lost: dict[str, int]) -> None:
    result["lost"] = sum(lost.values())
    for line in _lines(result):
        line["lost"] = lost.get(line["site_id"], 0)


def _lines(result: dict[str, Any]) -> list[dict[str, Any]]:
    return result.get("sites") or result.get("days") or []


def _print_json(result: dict[str, Any]) -> None:
    print(json.dumps(result))


def _print_csv(result: dict[str, Any]) -> None:
    name = "site_id" if "sites" in result else "day"
    columns = [name, "events", "billable", "duplicates", "bots", "rejected", "withheld", "amount", "currency"]
    columns += [extra for extra in ("what_if_amount", "lost") if any(extra in line for line in _lines(result))]
    print_csv(columns, (line | {"currency": result["currency"]} for line in _lines(result)))


def _print_table(result: dict[str, Any]) -> None:
    # a bar is for the eyes: not for a file, and not where there is no room
    console = Console()
    room = console.width - width_of(_table(result, 0)) - 2
    has_bars = "days" in result and console.is_terminal and room >= BAR_WIDTH_MIN
    print_wide(_table(result, min(room, BAR_WIDTH_MAX) if has_bars else 0))
    if "what_if" in result:
        _print_comparison(result)
    elif len(result["lines"]) > 1:
        print_wide(_tariff_table(result["lines"], result["currency"], result["amount"], "price"))
    if expected := result["forecast"]:
        amount = f"{expected['amount']} {result['currency']}"
        print(f"Forecast: {expected['billable']:,} billable events, {amount} ({expected['method']})")


def _table(result: dict[str, Any], bar_width: int) -> Table:
    name = "site_id" if "sites" in result else "day"
    columns = [*COUNTS, *(["lost"] if "lost" in result else [])]
    title = f"{result['instance']}, {result['month']}"
    table = new_table(title, name.removesuffix("_id"), *columns, result["currency"])
    if bar_width:
        table.add_column(width=bar_width)
    highest = max((line["events"] for line in _lines(result)), default=0)
    for line in _lines(result):
        bar = [Bar(max(highest, 1), 0, line["events"], width=bar_width)] if bar_width else []
        table.add_row(shown(line[name]), *(f"{line[count]:,}" for count in columns), line["amount"], *bar)
    table.add_section()
    table.add_row("total", *(f"{result[count]:,}" for count in columns), result["amount"], style="bold")
    return table


def _print_comparison(result: dict[str, Any]) -> None:
    other = result["what_if"]
    side_by_side = Table.grid(padding=(0, 4))
    side_by_side.add_row(
        _tariff_table(result["lines"], result["currency"], result["amount"], "as it is"),
        _tariff_table(other["lines"], other["currency"], other["amount"], "what if"),
    )
    print_wide(side_by_side)


def _tariff_table(lines: list[dict[str, Any]], currency: str, amount: str, title: str) -> Table:
    table = new_table(title, "line", currency)
    for line in lines:
        table.add_row(shown(described(line)), line["amount"])
    table.add_section()
    table.add_row("total", amount, style="bold")
    return table

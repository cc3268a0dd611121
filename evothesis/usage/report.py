"""Report: a month's counts with their price, in the shape that is printed."""

from __future__ import annotations

from typing import Any

from evothesis import pg
from evothesis.config import Config
from evothesis.usage.meter import Counts, Group, Month, counts
from evothesis.usage.pricing import amount

TOTALS = ("events", "billable", "duplicates", "bots", "rejected", "withheld")


def report(connection: pg.Connection, config: Config, month: Month, by: Group) -> dict[str, Any]:
    """`{"instance", "month", "events", …, "amount", "currency", "sites": [...]}`; with `days` instead, by day.

    The amount is that of the sum: amounts of sites, each rounded, need not add up to it.
    """
    groups = counts(connection, month, by)
    totals = {name: sum(getattr(group, name) for group in groups) for name in TOTALS}
    rate = config.usage.rate_per_thousand
    head = {"instance": config.instance, "month": str(month)}
    money = {"amount": str(amount(totals["billable"], rate)), "currency": config.usage.currency}
    key, name = ("sites", "site_id") if by == "site" else ("days", "day")
    lines = [_line(group, name) | {"amount": str(amount(group.billable, rate))} for group in groups]
    return {
        **head,
        "events": totals["events"],
        "billable": totals["billable"],
        **money,
        **{count: totals[count] for count in TOTALS[2:]},
        key: lines,
    }


def _line(group: Counts, name: str) -> dict[str, Any]:
    fields = group._asdict()
    return {name: fields.pop("name"), **fields}

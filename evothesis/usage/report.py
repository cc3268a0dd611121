"""Report: a month's counts with their price, in the shape that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evothesis import pg
from evothesis.config import Config, Usage
from evothesis.usage.meter import Counts, Group, Month, counts
from evothesis.usage.pricing import Line, billable, price, share

UNBILLED = ("duplicates", "bots", "rejected", "withheld")


def report(connection: pg.Connection, config: Config, month: Month, by: Group) -> dict[str, Any]:
    """`{"instance", "month", "events", …, "amount", "currency", "lines": [...], "sites": [...]}`; `days` by day."""
    return {"instance": config.instance, "month": str(month)} | priced(counts(connection, month, by), config.usage, by)


def priced(groups: Sequence[Counts], tariff: Usage, by: Group) -> dict[str, Any]:
    """What these sites or days cost together under a tariff, and the share of each in what the events cost.

    Shares, each rounded, need not add up to the amount; free events lower all of them, minimum and add-ons none.
    """
    events, bots = (sum(getattr(group, name) for group in groups) for name in ("events", "bots"))
    billed = billable(events, bots, tariff)
    total = price(billed, tariff)
    key, name = ("sites", "site_id") if by == "site" else ("days", "day")
    lines = []
    for group in groups:
        part = billable(group.events, group.bots, tariff)
        amount = str(share(part, billed, total, tariff))
        unbilled = {count: getattr(group, count) for count in UNBILLED}
        lines.append({name: group.name, "events": group.events, "billable": part, **unbilled, "amount": amount})
    return {
        "events": events,
        "billable": billed,
        "amount": str(total.amount),
        "currency": tariff.currency,
        **{count: sum(getattr(group, count) for group in groups) for count in UNBILLED},
        "lines": [printed(line) for line in total.lines],
        key: lines,
    }


def printed(line: Line) -> dict[str, Any]:
    """A line of a bill as JSON has it: money is text, so that no reader makes a float of it."""
    rate = None if line.rate_per_thousand is None else f"{line.rate_per_thousand:f}"
    return line._asdict() | {"rate_per_thousand": rate, "amount": str(line.amount)}

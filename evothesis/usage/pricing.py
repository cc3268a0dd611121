"""Pricing: numbers of events and a tariff in, lines of money out. Pure, in Decimal.

Each line is rounded once, half a unit up, to the currency's smallest unit. What is to be paid is the sum of the lines,
so that anybody can add it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import pairwise
from typing import NamedTuple

from evothesis.config import Usage
from evothesis.currency import unit

THOUSAND = Decimal(1000)
DIGITS = 60  # nothing is rounded but where it is said: more than any number of events times any rate has


class Line(NamedTuple):
    """One line of a bill. `kind` is free, events, minimum or add_on; the last two are of no events."""

    kind: str
    name: str
    events: int | None
    rate_per_thousand: Decimal | None
    amount: Decimal


class Price(NamedTuple):
    """What a month costs. `exact` is what its events cost before anything is rounded."""

    lines: tuple[Line, ...]
    exact: Decimal
    amount: Decimal


def billable(events: int, bots: int, tariff: Usage) -> int:
    """How many of the stored events are billed."""
    return events if tariff.billable == "all" else events - bots


def price(events: int, tariff: Usage) -> Price:
    """What so many billable events of one month cost."""
    with localcontext(prec=DIGITS):
        free = min(events, tariff.free_events)
        lines = [Line("free", "free events", free, Decimal(0), _rounded(Decimal(0), tariff))] if free else []
        exact = Decimal(0)
        for name, part, rate in _bands(events - free, tariff):
            cost = part * rate / THOUSAND
            exact += cost
            lines.append(Line("events", name, part, rate, _rounded(cost, tariff)))
        due = sum(line.amount for line in lines)
        if due < tariff.minimum:
            lines.append(Line("minimum", "minimum", None, None, _rounded(tariff.minimum - due, tariff)))
        lines += [Line("add_on", add_on.name, None, None, _rounded(add_on.amount, tariff)) for add_on in tariff.add_ons]
        return Price(tuple(lines), exact, sum((line.amount for line in lines), start=_rounded(Decimal(0), tariff)))


def share(part: int, whole: int, of: Price, tariff: Usage) -> Decimal:
    """What a part of the month's billable events costs, as its share of what all of them cost."""
    with localcontext(prec=DIGITS):
        return _rounded(of.exact * part / whole if whole else Decimal(0), tariff)


def _bands(events: int, tariff: Usage) -> Iterator[tuple[str, int, Decimal]]:
    """The events of each tier with their rate; of the first one also when there are none."""
    rates = [tariff.rate_per_thousand, *(tier.rate_per_thousand for tier in tariff.tiers)]
    bounds = [0, *(tier.above for tier in tariff.tiers)]
    if tariff.tier_style == "volume":
        reached = sum(bound < events for bound in bounds[1:])
        yield (f"events, more than {bounds[reached]:,}" if reached else "events"), events, rates[reached]
        return
    for rate, (above, end) in zip(rates, pairwise([*bounds, max(events, bounds[-1])]), strict=True):
        part = min(events, end) - min(events, above)
        if part or not above:
            yield (f"events above {above:,}" if above else "events"), part, rate


def _rounded(money: Decimal, tariff: Usage) -> Decimal:
    return money.quantize(unit(tariff.currency), ROUND_HALF_UP)

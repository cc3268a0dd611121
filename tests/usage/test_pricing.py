"""Pricing: a number of events and a tariff in, money out, compared with a model that prices one event after another."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.config import AddOn, Tier, Usage
from evothesis.currency import unit
from evothesis.usage.pricing import Line, billable, price, share

DECIMALS = {"USD": 2, "JPY": 0, "KWD": 3, "CLF": 4}

LAST = ("events above 2,000", 1, "0.00")

rates = st.decimals(0, 2_000_000, places=4)


@st.composite
def tariffs(draw: st.DrawFn) -> Usage:
    """Any tariff whose tiers are reached by a few hundred events."""
    currency = draw(st.sampled_from(sorted(DECIMALS)))
    money = st.decimals(0, 5_000, places=DECIMALS[currency])
    bounds = sorted(draw(st.sets(st.integers(1, 300), max_size=4)))
    return Usage(
        rate_per_thousand=draw(rates),
        currency=currency,
        free_events=draw(st.integers(0, 200)),
        tiers=tuple(Tier(above=bound, rate_per_thousand=draw(rates)) for bound in bounds),
        tier_style=draw(st.sampled_from(["graduated", "volume"])),
        minimum=draw(money),
        add_ons=tuple(AddOn(name="extra", amount=draw(money)) for _ in range(draw(st.integers(0, 2)))),
    )


def rounded(exact: Fraction, currency: str) -> Fraction:
    """To the currency's smallest unit, a half upwards."""
    units = 10 ** DECIMALS[currency]
    return Fraction(floor(exact * units + Fraction(1, 2)), units)


def rate_of(number: int, paid: int, tariff: Usage) -> Decimal:
    """What the event with this number, counted from 1 among those that are paid, costs as one of a thousand."""
    position = paid if tariff.tier_style == "volume" else number
    rate = tariff.rate_per_thousand
    for tier in tariff.tiers:
        if position > tier.above:
            rate = tier.rate_per_thousand
    return rate


def model(events: int, tariff: Usage) -> Fraction:
    """What events cost, event by event: those of one tier are one line, each line is rounded, the rest is added."""
    paid = events - min(events, tariff.free_events)
    by_tier: dict[int, Fraction] = {}
    for number in range(1, paid + 1):
        position = paid if tariff.tier_style == "volume" else number
        tier = sum(position > tier.above for tier in tariff.tiers)
        by_tier[tier] = by_tier.get(tier, Fraction(0)) + Fraction(rate_of(number, paid, tariff)) / 1000
    cost = sum((rounded(line, tariff.currency) for line in by_tier.values()), start=Fraction(0))
    return max(cost, Fraction(tariff.minimum)) + sum(Fraction(add_on.amount) for add_on in tariff.add_ons)


@given(st.integers(0, 600), tariffs())
def test_model(events: int, tariff: Usage) -> None:
    """Any tariff costs what the slow model says, its lines add up to it, and each event stands on one line."""
    found = price(events, tariff)

    assert model(events, tariff) == Fraction(found.amount)
    assert found.amount == sum(line.amount for line in found.lines)
    assert events == sum(line.events or 0 for line in found.lines)
    assert {unit(tariff.currency).as_tuple().exponent} == {line.amount.as_tuple().exponent for line in found.lines}


@given(st.integers(0, 10**12), st.integers(0, 10**12), tariffs())
def test_more_costs_more(events: int, more: int, tariff: Usage) -> None:
    """Where no tier is cheaper than the one before, more events never cost less."""
    rising = sorted([tariff.rate_per_thousand, *(tier.rate_per_thousand for tier in tariff.tiers)])
    tiers = tuple(
        Tier(above=tier.above, rate_per_thousand=rate) for tier, rate in zip(tariff.tiers, rising[1:], strict=True)
    )
    dear = Usage(rate_per_thousand=rising[0], currency=tariff.currency, tiers=tiers, tier_style=tariff.tier_style)

    assert price(events, dear).exact <= price(events + more, dear).exact


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), tariffs())
def test_shares(parts: list[int], tariff: Usage) -> None:
    """Shares are those of what events cost: together they miss it by no more than their own rounding."""
    whole = sum(parts)
    total = price(whole, tariff)
    shares = [share(part, whole, total, tariff) for part in parts]

    assert abs(sum(shares) - total.exact) <= unit(tariff.currency) * len(parts) / 2


@pytest.mark.parametrize(
    ("events", "rate", "expected"),
    [
        (0, "0.01", "0.00"),
        (499, "0.01", "0.00"),
        (500, "0.01", "0.01"),
        (1_500, "0.01", "0.02"),
        (2_500, "0.01", "0.03"),
        (1_000_000, "0.01", "10.00"),
        (10**15, "0.01", "10000000000.00"),
        (10**18 + 1, "0.123456789012", "123456789012000.00"),
        (333, "0.0375", "0.01"),
        (1, "0", "0.00"),
    ],
)
def test_rate(events: int, rate: str, expected: str) -> None:
    """An amount is exact to the cent; half a cent is rounded up, also where a banker would not."""
    assert expected == str(price(events, Usage(rate_per_thousand=Decimal(rate))).amount)


@pytest.mark.parametrize(
    ("style", "events", "expected"),
    [
        ("graduated", 1_000, [("events", 1_000, "10.00")]),
        ("graduated", 1_001, [("events", 1_000, "10.00"), ("events above 1,000", 1, "0.01")]),
        ("graduated", 2_001, [("events", 1_000, "10.00"), ("events above 1,000", 1_000, "5.00"), LAST]),
        ("volume", 1_000, [("events", 1_000, "10.00")]),
        ("volume", 1_001, [("events, more than 1,000", 1_001, "5.01")]),
        ("volume", 3_000, [("events, more than 2,000", 3_000, "3.00")]),
    ],
)  # fmt: skip
def test_tiers(style: str, events: int, expected: list[tuple[str, int, str]]) -> None:
    """A bound belongs to the tier below it; graduated prices each part, volume prices all by the last bound passed."""
    tiers = (Tier(above=1_000, rate_per_thousand=Decimal(5)), Tier(above=2_000, rate_per_thousand=Decimal(1)))
    tariff = Usage(
        rate_per_thousand=Decimal(10), tiers=tiers, tier_style="volume" if style == "volume" else "graduated"
    )

    assert expected == [(line.name, line.events, str(line.amount)) for line in price(events, tariff).lines]


def test_every_line() -> None:
    """Free events come first, the minimum tops the events up, add-ons come on top of it."""
    tariff = Usage(
        rate_per_thousand=Decimal(10),
        free_events=100,
        minimum=Decimal(20),
        add_ons=(AddOn(name="Compliance", amount=Decimal(1_500)),),
    )

    found = price(1_100, tariff)

    assert (
        Line("free", "free events", 100, Decimal(0), Decimal("0.00")),
        Line("events", "events", 1_000, Decimal(10), Decimal("10.00")),
        Line("minimum", "minimum", None, None, Decimal("10.00")),
        Line("add_on", "Compliance", None, None, Decimal("1500.00")),
    ) == found.lines
    assert Decimal("1520.00") == found.amount


@pytest.mark.parametrize(("currency", "expected"), [("USD", "0.50"), ("JPY", "1"), ("KWD", "0.500"), ("CLF", "0.5000")])
def test_smallest_unit(currency: str, expected: str) -> None:
    """An amount has as many decimals as its currency."""
    assert expected == str(price(50, Usage(rate_per_thousand=Decimal(10), currency=currency)).amount)


@pytest.mark.parametrize(("rule", "expected"), [("people", 90), ("all", 100)])
def test_bots(rule: str, expected: int) -> None:
    """Bots are billed where the tariff says so, and nowhere else."""
    assert expected == billable(100, 10, Usage(billable="all" if rule == "all" else "people"))

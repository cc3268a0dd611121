"""Judge: what is worth telling."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from evothesis.notify.judge import crossed, is_spike, untold, usual

DAY = date(2026, 11, 24)


def before(*events: int) -> dict[date, int]:
    """The events of the days before `DAY`, the last one being yesterday's."""
    return {DAY - timedelta(days=len(events) - number): count for number, count in enumerate(events)}


@pytest.mark.parametrize(
    ("value", "expected", "percents"),
    [
        ("0", "100", []),
        ("49.99", "100", []),
        ("50", "100", [50]),
        ("100", "100", [50, 80, 100]),
        ("1000", "100", [50, 80, 100, 120]),
        ("1000", "0", []),
        ("0.01", "0.02", [50]),
    ],
)
def test_crossed(value: str, expected: str, percents: list[int]) -> None:
    """A threshold is reached with its very percentage; without an expectation there is none."""
    assert percents == crossed(Decimal(value), Decimal(expected), (120, 100, 50, 80))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), None),
        ((5,) * 6, None),
        ((5,) * 7, 5),
        ((0, 0, 5, 5, 5, 5, 5, 5), None),
        ((5, 0, 0, 5, 5, 5, 5, 5), 5),
        ((9, 9, 9, 0, 0, 0, 0), 0),
        ((1_000_000, *(10, 20) * 14), 15),
    ],
)
def test_usual(events: tuple[int, ...], expected: int | None) -> None:
    """The median of at most 28 days, from the first one with events on; fewer than seven say nothing."""
    assert expected == usual(DAY, before(*events))


@pytest.mark.parametrize(
    ("events", "usual_events", "expected"),
    [
        (10**9, None, False),
        (30_000, 10_000, True),
        (29_999, 10_000, False),
        (1_499, 500, False),
        (1_500, 500, True),
        (1_499, 499, True),
        (999, 0, False),
        (1_000, 0, True),
    ],
)
def test_spike(events: int, usual_events: int | None, expected: bool) -> None:  # noqa: FBT001 - an expectation
    """A spike is three times what is usual, and a thousand events more."""
    assert expected is is_spike(events, usual_events, 300)


@pytest.mark.parametrize(
    ("told", "days"),
    [(None, 1), (DAY, 0), (DAY - timedelta(days=1), 1), (DAY - timedelta(days=3), 3), (date(2020, 1, 1), 7)],
    ids=["never", "today", "yesterday", "three days ago", "years ago"],
)
def test_untold(told: date | None, days: int) -> None:
    """Days that were missed are told of, at most seven; the first time it is one."""
    expected = [DAY - timedelta(days=number) for number in reversed(range(days))]

    assert expected == untold(told, DAY, 7)

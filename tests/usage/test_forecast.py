"""Forecast: the month so far and the last days in, what the month may come to out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from evothesis import pg
from evothesis.config import Usage
from evothesis.usage.forecast import forecast
from evothesis.usage.meter import Month
from tests.usage.ledger import Ledger

NOVEMBER = Month(2025, 11)
NOON = datetime(2025, 11, 21, 12, tzinfo=UTC)  # nine and a half days are left
TARIFF = Usage()


def ahead(ledger: Ledger, now: datetime = NOON, tariff: Usage = TARIFF) -> dict[str, object] | None:
    """The forecast for November."""
    with pg.connect(ledger.url, name="test") as connection:
        return forecast(connection, tariff, NOVEMBER, now=now)


def fill(ledger: Ledger, first: date, last: date, accepted: int, **others: int) -> None:
    """The same on each day."""
    for number in range((last - first).days + 1):
        ledger.add("a", str(first + timedelta(days=number)), accepted, **others)


def test_whole_week(ledger: Ledger) -> None:
    """Each day that is left counts as the mean of the last seven whole days, today for what is left of it."""
    fill(ledger, date(2025, 10, 25), date(2025, 11, 13), 1_000_000)
    fill(ledger, date(2025, 11, 14), date(2025, 11, 20), 2_000_000, bots=500_000)
    ledger.add("a", "2025-11-21", 700_000)

    assert {
        "events": 13_000_000 + 14_000_000 + 700_000 + 19_000_000,
        "billable": 13_000_000 + 10_500_000 + 700_000 + 14_250_000,
        "amount": "384.50",
        "method": "so far, and for each day that is left the mean of the last 7 whole days",
    } == ahead(ledger)


def test_new(ledger: Ledger) -> None:
    """Days before the first event are no days; days of the month before count."""
    ledger.add("a", "2025-10-31", 300)
    ledger.add("a", "2025-11-01", 100)

    found = ahead(ledger, datetime(2025, 11, 2, tzinfo=UTC))

    assert found
    assert (100 + 29 * 200, "the mean of the last 2 whole days") == (found["events"], str(found["method"])[-33:])


@pytest.mark.parametrize("now", [NOVEMBER.end, datetime(2025, 10, 31, 23, 59, tzinfo=UTC)])
def test_other_month(ledger: Ledger, now: datetime) -> None:
    """What is over needs no forecast, what has not begun has none."""
    fill(ledger, date(2025, 10, 25), date(2025, 11, 30), 1)

    assert None is ahead(ledger, now)


def test_first_day(ledger: Ledger) -> None:
    """Before there was a whole day nothing is said."""
    ledger.add("a", "2025-11-21", 1)

    assert None is ahead(ledger)


def test_tariff(ledger: Ledger) -> None:
    """The forecast is priced as the month will be."""
    fill(ledger, date(2025, 11, 14), date(2025, 11, 20), 1_000, bots=1_000)

    found = ahead(ledger, tariff=Usage(billable="all", free_events=16_000))

    assert found
    assert (16_500, "0.01") == (found["billable"], found["amount"])

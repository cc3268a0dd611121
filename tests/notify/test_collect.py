"""Collect: what stands in the ledger in, each thing told once out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from evothesis.config import Config, Notify
from evothesis.notify.collect import collect
from tests.notify.ledger import Ledger

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
YESTERDAY = date(2026, 11, 24)
DAY = timedelta(days=1)


def told(ledger: Ledger, now: datetime = NOW, **settings: Any) -> Ledger:  # noqa: ANN401 - any setting of [notify]
    """Collect, twice: the second time finds nothing new."""
    config = Config(instance="acme", notify=msgspec.structs.replace(Notify(), **settings))
    for _ in range(2):
        collect(ledger.connection, config, now)
    return ledger


def test_daily(ledger: Ledger) -> None:
    """A day is told of with its counts, its sites, the largest first, and the month so far."""
    ledger.add("b.example", YESTERDAY, 600_000)
    ledger.add("a.example", YESTERDAY, 500, bots=100)
    ledger.add("a.example", YESTERDAY - 3 * DAY, 10)

    told(ledger)

    assert [
        {
            "day": "2026-11-24",
            "events": 600_500,
            "billable": 600_400,
            "duplicates": 0,
            "bots": 100,
            "rejected": 0,
            "withheld": 0,
            "month_so_far": {
                "month": "2026-11",
                "events": 600_510,
                "billable": 600_410,
                "amount": "6.00",
                "currency": "USD",
            },
            "sites": [{"site_id": "b.example", "events": 600_000}, {"site_id": "a.example", "events": 500}],
            "sites_total": 2,
        }
    ] == ledger.data("usage.daily")


def test_day_without_events(ledger: Ledger) -> None:
    """A day on which nothing came is told of too."""
    told(ledger)

    assert [("2026-11-24", 0, [], 0)] == [
        (data["day"], data["events"], data["sites"], data["sites_total"]) for data in ledger.data("usage.daily")
    ]


def test_days_that_were_missed(ledger: Ledger) -> None:
    """What was not told when nothing ran is told later; an hour after midnight a day is complete."""
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    told(ledger, midnight + timedelta(minutes=59))
    assert ["2026-11-20"] == ledger.keys("usage.daily")
    told(ledger, midnight + timedelta(minutes=60))
    told(ledger)

    assert ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"] == ledger.keys("usage.daily")


def test_many_sites(ledger: Ledger) -> None:
    """However many sites there are, a message stays under the 20 KB that receivers expect."""
    for number in range(200):
        ledger.add(f"{number:03d}.{'x' * 96}", YESTERDAY, 1_000 - number)

    told(ledger)

    data = ledger.data("usage.daily")[0]
    assert (200, 50, 1_000) == (data["sites_total"], len(data["sites"]), data["sites"][0]["events"])
    assert len(msgspec.json.encode(data)) < 20_000


def test_thresholds(ledger: Ledger) -> None:
    """Each percentage of the volume and of the budget is told once in a month, when it is reached."""
    settings: dict[str, Any] = {"events_expected": 1_000_000, "budget": Decimal(20), "thresholds": (50, 80, 100)}
    ledger.add("a.example", date(2026, 11, 1), 800_000, bots=200_000)
    told(ledger, **settings)
    assert ["2026-11 events_expected 50"] == ledger.keys("usage.threshold")
    ledger.add("a.example", date(2026, 11, 2), 400_000)
    told(ledger, **settings)
    told(ledger, NOW + 20 * DAY, **settings)

    assert [
        "2026-11 events_expected 50",
        "2026-11 events_expected 80",
        "2026-11 events_expected 100",
        "2026-11 budget 50",
    ] == ledger.keys("usage.threshold")
    assert {
        "percent": 50,
        "of": "budget",
        "expected": "20",
        "month": "2026-11",
        "events": 1_200_000,
        "billable": 1_000_000,
        "amount": "10.00",
        "currency": "USD",
    } == ledger.data("usage.threshold")[-1]


def test_threshold_of_the_month_before(ledger: Ledger) -> None:
    """What the last hours of a month reached is told on the first day of the next."""
    ledger.add("a.example", date(2026, 11, 30), 100)

    told(ledger, datetime(2026, 12, 1, 0, 5, tzinfo=UTC), events_expected=100, thresholds=(100,))

    assert ["2026-11 events_expected 100"] == ledger.keys("usage.threshold")


def test_spike(ledger: Ledger) -> None:
    """A day with far more events than the median of four weeks is told of; the next ordinary one is not."""
    ledger.add_days("a.example", YESTERDAY, [1_000] * 27 + [9_999, 3_000])
    told(ledger)
    ledger.add("a.example", YESTERDAY + DAY, 2_999)
    told(ledger, NOW + DAY)

    assert [
        {
            "day": "2026-11-24",
            "events": 3_000,
            "usual_events": 1_000,
            "sites": [{"site_id": "a.example", "events": 3_000}],
            "sites_total": 1,
        }
    ] == ledger.data("usage.spike")


def test_silence(ledger: Ledger) -> None:
    """Sites that had events on each of seven days, and then none, are told of once."""
    ledger.add_days("silent.example", YESTERDAY, [20] * 7 + [0])
    ledger.add_days("larger.example", YESTERDAY - DAY, [2_000] * 10)
    ledger.add_days("small.example", YESTERDAY - DAY, [14] * 7)
    ledger.add_days("irregular.example", YESTERDAY - DAY, [500, 500, 0, 500, 500, 500, 500])
    ledger.add_days("well.example", YESTERDAY, [500] * 8)
    told(ledger)
    ledger.add("well.example", YESTERDAY + DAY, 500)
    told(ledger, NOW + DAY)

    assert [
        {
            "day": "2026-11-24",
            "sites": [
                {"site_id": "larger.example", "usual_events": 2_000},
                {"site_id": "silent.example", "usual_events": 20},
            ],
            "sites_total": 2,
        }
    ] == ledger.data("usage.silence")


def test_late_export(ledger: Ledger) -> None:
    """A destination that lags is told of once a day."""
    now = datetime.now(UTC)
    ledger.wait_for_export(now - timedelta(hours=7), 12)
    told(ledger, now, export_late_hours=8)
    assert [] == ledger.keys("export.late")
    told(ledger, now)
    told(ledger, now + DAY)

    assert [f"client {now.date()}", f"client {now.date() + DAY}"] == ledger.keys("export.late")
    data = ledger.data("export.late")[0]
    assert ("client", 1, 12) == (data["destination"], data["lag"]["loads"], data["lag"]["events"])
    assert 7 * 3_600 <= data["lag"]["seconds"] < 8 * 3_600


def test_failed_export(ledger: Ledger) -> None:
    """Three failed runs in a row are told of once, until one went well in between."""
    ledger.fail_export(2)
    told(ledger)
    assert [] == ledger.keys("export.failed")
    for failures in (3, 4):
        ledger.fail_export(failures)
        told(ledger)
    ledger.fail_export(3, succeeded_at=NOW)
    told(ledger)

    assert ["client since None", "client since 2026-11-25 09:00:00+00:00"] == ledger.keys("export.failed")
    data = ledger.data("export.failed")[0]
    assert ("client", 3, None) == (data["destination"], data["failures"], data["succeeded_at"])
    assert ("it is away", "look") == (data["error"], data["hint"])

"""Budget: a site with more events on a day than it should have is told of, once, and nothing of it is dropped."""

from __future__ import annotations

import logging
import shutil
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evothesis.loader import budget
from evothesis.loader.run import Loader
from tests.appliance import eventually
from tests.collector.client import ask, collect
from tests.fix_appliance import MakeAppliance
from tests.fix_world import DAY, LOADERS, World, entry, event

TOLD = "Site is over its daily budget."
AUDIT = "select actor, action, details from audit_log order by audit_id"


def today() -> date:
    """The day, which may end while all tests run."""
    return datetime.now(UTC).date()


def load(world: World, events_max: int = 2) -> tuple[str, ...]:
    """Load all that waits with a loader that is started for it; returns which sites are over their budget today."""
    loader = loader_of(world, events_max)
    loader.run()
    eventually(lambda: not world.rows(LOADERS))
    return loader._budget.over(today())


def loader_of(world: World, events_max: int) -> Loader:
    """A loader that ends when nothing waits."""
    stop = threading.Event()
    stop.set()
    return Loader(world.database, world.settings, stop, lambda: None, events_max=events_max)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, int, int]]:
    """What the log says: site, day, budget and events."""
    lines: list[Any] = [record for record in caplog.records if record.message == TOLD]
    assert {logging.WARNING} >= {line.levelno for line in lines}
    return [(line.site_id, line.day, line.budget, line.events) for line in lines]


def put(world: World, first: int, events: int, *, site: str = "a.example", days_ago: int = 0) -> None:
    """A segment with so many events of a site."""
    sent = [event(number, site=site) for number in range(first, first + events)]
    world.put(entry(*sent, at=datetime.now(UTC) - days_ago * DAY))


def test_within(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """As many events as the budget has are no news, nor are duplicates, nor those of other sites and days."""
    put(world, 1, 2)
    put(world, 1, 2)
    put(world, 3, 2, site="b.example")
    put(world, 5, 2, days_ago=1)

    assert () == load(world)
    assert ([], []) == (told(caplog), world.rows(AUDIT))
    assert 6 == len(world.stored())


def test_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The segment that crosses the budget makes one line and one record; what comes after it is stored all the same."""
    for number in range(5):
        put(world, number * 10, 1)
    put(world, 100, 3, site="b.example")
    load(world)

    assert [("a.example", str(today()), 2, 3), ("b.example", str(today()), 2, 3)] == told(caplog)
    about = [{"site_id": site, "day": str(today()), "budget": 2, "events": 3} for site in ("a.example", "b.example")]
    assert [{"actor": "loader", "action": "over-budget", "details": details} for details in about] == world.rows(AUDIT)
    assert 8 == len(world.stored())


def test_restart(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A loader that is started again knows what was counted, and what it has told of."""
    put(world, 1, 2)
    load(world)
    put(world, 11, 1)
    load(world)
    before = told(caplog)
    put(world, 21, 1)
    over = load(world)

    assert [("a.example", str(today()), 2, 3)] == before == told(caplog)
    assert ("a.example",) == over == load(world)


def test_other_budget(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Another budget is another alert."""
    put(world, 1, 5)
    load(world)
    assert () == load(world, events_max=5)
    put(world, 11, 1)
    load(world, events_max=5)

    assert [(2, 5), (5, 6)] == [(budget_, events) for _, _, budget_, events in told(caplog)]


def test_days(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each day has its own count, however many days waited, and is told of once; today's list has today's sites."""
    for round_ in range(2):
        for days_ago in range(6):
            put(world, 1 + 100 * days_ago + 10 * round_, 2, days_ago=days_ago)

    assert ("a.example",) == load(world)
    assert {(str(today() - days_ago * DAY), 4) for days_ago in range(6)} == {(day, n) for _, day, _, n in told(caplog)}
    assert 6 == len(told(caplog))


def test_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without a budget nothing is told."""
    put(world, 1, 5)

    assert () == load(world, events_max=0)
    assert ([], []) == (told(caplog), world.rows(AUDIT))


def test_loaded_before(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A segment that is met again counts once."""
    path = world.put(entry(event(1), event(2)))
    shutil.copy(path, tmp_path / "copy")
    load(world)
    shutil.copy(tmp_path / "copy", path)

    assert () == load(world)
    assert [] == told(caplog)


def count(world: World, events: dict[str, int]) -> None:
    """Let the ledger have events of these sites, as if they had been loaded today."""
    ledger = "insert into usage_ledger (writer, segment_no, site_id, usage_day, accepted) values (9, 9, %s, %s, %s)"
    with psycopg.connect(world.database) as connection:
        connection.cursor().executemany(ledger, [(site, today(), number) for site, number in events.items()])


def test_many_sites(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever makes up sites does not fill the log."""
    count(world, {f"{number}.example": 3 for number in range(budget.TOLD_MAX + 10)})

    assert budget.TOLD_MAX == len(load(world)) == len(told(caplog)) == len(world.rows(AUDIT))


def test_many_counts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does he fill the memory: of more sites than are counted at a time those with the most events stay known."""
    count(world, {f"{number}.example": 1 for number in range(budget.SITES_MAX - 1)} | {"large.example": 2})
    put(world, 1, 1, site="new.example")
    put(world, 2, 1, site="large.example")
    loader = loader_of(world, 2)
    loader.run()

    assert [("large.example", str(today()), 2, 3)] == told(caplog)
    assert budget.SITES_MAX // 2 == len(loader._budget._days[today()].counts)


def test_health(make_appliance: MakeAppliance) -> None:
    """The operator sees which sites are over their budget, also after a restart; all events are taken."""
    appliance = make_appliance({"limits": {"events_per_site_and_day": 3}})

    def over() -> list[str]:
        found: list[str] = ask(appliance.admin_url, "GET", "/health").json["sites_over_budget"]
        return found

    assert [] == over()
    events = [{"eventType": "click", "siteId": site, "n": n} for site in ("a.example", "b.example") for n in range(3)]
    collect(appliance.url, {"eventType": "batch", "events": events})
    for number in range(3, 6):
        assert 1 == collect(appliance.url, {"eventType": "click", "siteId": "a.example", "n": number}).json["accepted"]
    eventually(lambda: over() == ["a.example"])
    appliance.stop()
    appliance.start()
    eventually(lambda: over() == ["a.example"])
    appliance.wait_until_drained()

    assert [{"events": 9}] == appliance.rows("select count(*)::int as events from events_log")
    assert 1 == appliance.output().count(TOLD)

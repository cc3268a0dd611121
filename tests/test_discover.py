"""Discover: a site's first load tells of it, once, whoever loads at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from evothesis import pg
from evothesis.loader import discover
from evothesis.loader.content import read
from evothesis.loader.load import load
from evothesis.spool.segments import sealed
from evothesis.spool.writer import Writer
from tests.fix_world import NOW, World, entry, event

LOADERS = 4
TOLD = "select key from outbox where kind = 'site.discovered' order by outbox_id"
DATA = "select data from outbox where kind = 'site.discovered'"


def test_first_event(world: World) -> None:
    """A new site is told of in the load's transaction, with the time of its first event; a known one is not."""
    world.put(entry(event(1)))
    world.load()
    world.put(entry(event(2), event(3, site="b.example")))
    world.load()

    assert ["a.example", "b.example"] == [row["key"] for row in world.rows(TOLD)]
    at = NOW.isoformat().replace("+00:00", "Z")
    assert {"site_id": "a.example", "first_received_at": at} == world.rows(DATA)[0]["data"]


def test_no_site(world: World) -> None:
    """Refused events that name no site are no news."""
    world.put(entry({"eventType": "click"}))
    world.load()

    assert ["(unknown)"] == [row["site_id"] for row in world.rows("select site_id from sites")]
    assert [] == world.rows(TOLD)


def test_racing_loaders(world: World) -> None:
    """Loaders of different writers that meet the same new sites, in any order, tell of each once, and none hangs."""
    sites = [f"{number}.example" for number in range(20)]
    writers = [Writer.claim(world.spool) for _ in range(LOADERS)]
    for number, writer in enumerate(writers):
        order = sites if number % 2 else sites[::-1]
        events = [event(100 * number + place, site=site) for place, site in enumerate(order)]
        world.put(entry(*events), writer=writer)
        writer.close()
    segments = sealed(world.spool)
    with pg.connect(world.database, name="test") as connection:
        connection.execute("select ensure_partitions(%(day)s)", {"day": NOW.date()})
    meeting = threading.Barrier(LOADERS)

    def load_one(number: int) -> bool:
        with pg.connect(world.database, name="test") as connection:
            content = read(segments[number])
            meeting.wait(10)
            return load(connection, segments[number], content) is not None

    with ThreadPoolExecutor(LOADERS) as executor:
        assert [True] * LOADERS == list(executor.map(load_one, range(LOADERS)))

    assert sorted(sites) == sorted(row["key"] for row in world.rows(TOLD))


def test_flood(world: World) -> None:
    """Whoever makes up sites can have a hundred of them told in a day; all of them are known."""
    for number in range(3):
        world.put(entry(*(event(100 * number + place, site=f"{number}-{place}.example") for place in range(60))))
    world.load()

    assert discover.TOLD_MAX == len(world.rows(TOLD))
    assert 180 == len(world.rows("select from sites"))

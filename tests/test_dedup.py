"""Dedup in the load: what a browser sends again is stored and billed once, and nothing else is taken for that."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from evothesis.loader.dedup import WINDOW
from evothesis.spool.writer import Writer
from tests.fix_world import DAY, NOW, World, entry, event


def test_duplicate_in_segment(world: World) -> None:
    """The same id with the same content in one segment is stored once and counted."""
    world.put(entry(event(1), event(2)), entry(event(1)))

    world.load()

    assert [(1, False), (2, False)] == world.stored()
    assert [(2, 1)] == world.loads("accepted", "duplicate")


@pytest.mark.parametrize("days", range(-3, 4))
def test_duplicate_in_window(world: World, days: int) -> None:
    """A retry within 72 hours is a duplicate, through whichever writer it comes, and also when it is loaded first."""
    other = Writer.claim(world.spool)
    world.put(entry(event(1)))
    world.load()
    world.put(entry(event(2), event(1), at=NOW + days * DAY), writer=other)
    world.load()
    other.close()

    assert [1, 2] == sorted(number for number, _ in world.stored())
    assert [(1, 0), (1, 1)] == world.loads("accepted", "duplicate")


def test_repeated_after_window(world: World) -> None:
    """The same event four days later is a new one: the window has an end."""
    world.put(entry(event(1)))
    world.put(entry(event(1), at=NOW + 4 * DAY))

    world.load()

    assert [(1, False), (1, False)] == world.stored()


@pytest.mark.parametrize("is_one_segment", [True, False])
def test_reused_id(world: World, *, is_one_segment: bool) -> None:
    """Other content under a known id is kept and flagged, each content once; its retries are duplicates."""
    rows = [event(1, content) for content in ("first", "second", "third", "second", "first", "third")]
    for part in [rows] if is_one_segment else [[one] for one in rows]:
        world.put(entry(*part))

    world.load()

    flags = dict(world.stored())
    assert ["first", "second", "third"] == sorted(content for content, _ in world.stored())
    assert [False, True, True] == sorted(flags.values())
    assert (3, 3) == tuple(map(sum, zip(*world.loads("accepted", "duplicate"), strict=True)))


def test_reused_id_next_day(world: World) -> None:
    """The retry of an event with a reused id is a duplicate on the next day as well."""
    world.put(entry(event(1, "first"), event(2)), entry(event(1, "second")))
    world.put(entry(event(1, "second"), event(1, "first"), at=NOW + DAY))

    world.load()

    assert 3 == len(world.stored())


def test_same_id_on_two_sites(world: World) -> None:
    """The same id on another site is another event."""
    world.put(entry(event(1), event(1, site="b.example")))

    world.load()

    assert [False, True] == sorted(is_reused for _, is_reused in world.stored())


def test_retries_of_a_busy_time(world: World) -> None:
    """Of many events whose ids follow each other in time, as browsers make them, each retry is found the next day."""
    ids = [f"{0x0193B2F0 + number % 3:08x}{number:024x}" for number in range(60)]
    sent = [event(number) | {"eventId": one} for number, one in enumerate(ids)]
    world.put(entry(*sent[:30]))
    world.put(entry(*sent, at=NOW + DAY))

    world.load()

    assert list(range(60)) == sorted(number for number, _ in world.stored())
    assert [(30, 0), (30, 30)] == world.loads("accepted", "duplicate")


def test_old_keys(world: World) -> None:
    """The days of keys that no retry can reach, however late it is loaded, are dropped one by one; no other is."""
    today = datetime.now(UTC).date()
    reach = 2 * WINDOW
    with psycopg.connect(world.database) as connection:
        for days in range(3):
            connection.execute("select ensure_partitions(%(day)s)", {"day": today - reach - days * DAY})
    oldest = []
    for _ in range(4):
        oldest += world.rows("select min(relname) as name from pg_class where relname like 'dedup_keys_2%'")
        world.load()

    expected = [today - reach - 2 * DAY, today - reach - DAY, today - reach, today - reach]
    assert [f"dedup_keys_{day:%Y%m%d}" for day in expected] == [row["name"] for row in oldest]

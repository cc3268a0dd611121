"""Feed: readers that come, go, and come back with their cursor have every event once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from evothesis import pg
from evothesis.admin.cursor import NOTHING, Cursor, Seen, parse, written
from evothesis.admin.feed import CACHE_BYTES_MAX, Feed, Wish
from evothesis.admin.query import QueryError
from evothesis.event import Entry
from evothesis.spool.writer import Writer
from tests.fix_world import NOW, World, entry, event

SEGMENTS, EVENTS_MAX = 30, 12
MANY = 1_200  # events of one segment: more than a message may have
QUIET_SECONDS = 0.5


def fill(world: World, seed: int) -> list[list[int]]:
    """Load segments of two writers, some of them empty; the numbers of the events of each."""
    chance = random.Random(seed)
    writers = [world.writer, Writer.claim(world.spool)]
    numbers: list[list[int]] = [[], []]
    for count in [*(chance.randrange(EVENTS_MAX) for _ in range(SEGMENTS)), MANY]:
        which = chance.randrange(2)
        new = [sum(map(len, numbers)) + n for n in range(count)]
        numbers[which] += new
        sent = [event(number, site=f"{number % 3}.example") for number in new]
        nothing = Entry(NOW, [], [], {"w.example": 1})
        entries = [entry(*sent[first : first + 500]) for first in range(0, count, 500)]
        world.put(*entries, nothing, writer=writers[which])
    writers[1].close()
    world.load()
    return numbers


def follow(world: World, read: Callable[[Feed], Awaitable[Any]], *, cache_bytes_max: int = CACHE_BYTES_MAX) -> Any:  # noqa: ANN401 - what its argument returns
    """What a reader of this world's feed makes of it."""

    async def main() -> Any:  # noqa: ANN401 - as above
        async with pg.pool(world.database, name="test") as connections:
            feed = Feed(connections, cache_bytes_max=cache_bytes_max)
            with feed.reader():
                return await read(feed)

    return asyncio.run(main())


async def some(feed: Feed, cursor: Cursor, wish: Wish, messages: float = float("inf")) -> list[dict[str, Any]]:
    """The events of so many messages, or all that there are; the cursor goes with them."""
    found: list[dict[str, Any]] = []
    end = await feed.now()  # what the feed knows may be older, on a busy machine
    async for events in feed.follow(cursor, wish, pause_seconds=QUIET_SECONDS):
        found += [msgspec.json.decode(body) for body in events]
        messages -= bool(events)
        is_all = all(cursor.get(writer, NOTHING) >= seen for writer, seen in end.items())
        if messages <= 0 or (is_all and not events):
            break
    return found


def by_writer(events: list[dict[str, Any]]) -> list[list[int]]:
    """Their numbers, in the order in which they came, of each writer; the one with the smallest first."""
    found: dict[int, list[int]] = {}
    for one in events:
        found.setdefault(one["writer"], []).append(one["raw_event_data"]["n"])
    return sorted(found.values())


@pytest.mark.parametrize("seed", range(3))
def test_resumed(world: World, seed: int) -> None:
    """A reader that is cut off at random and comes back has every event once, in order of each writer."""
    numbers = fill(world, seed)
    chance = random.Random(seed)

    async def read(feed: Feed) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        place = "1:0:-1"
        while part := await some(feed, cursor := parse(place), Wish(), chance.randint(1, 5)):
            found += part
            place = written(cursor)
        return found

    assert sorted(filter(None, numbers)) == by_writer(follow(world, read))


def test_wish(world: World) -> None:
    """Who wants one site gets its events alone, and the cursor behind all of them."""
    numbers = fill(world, 7)

    async def read(feed: Feed) -> tuple[list[dict[str, Any]], Cursor, Cursor]:
        cursor: Cursor = {}
        return await some(feed, cursor, Wish(site="1.example")), cursor, await feed.now()

    events, cursor, now = follow(world, read)
    wanted = [[number for number in part if number % 3 == 1] for part in numbers]
    assert sorted(filter(None, wanted)) == by_writer(events)
    assert now == cursor


def test_many_readers(world: World) -> None:
    """Readers that start together cost the database what one of them does."""
    numbers = fill(world, 5)

    async def read(feed: Feed) -> tuple[list[list[dict[str, Any]]], int]:
        found = await asyncio.gather(*(some(feed, {}, Wish()) for _ in range(20)))
        return list(found), feed.blocks_read

    found, blocks = follow(world, read)
    assert [sorted(filter(None, numbers))] * 20 == [by_writer(events) for events in found]
    assert 2 == blocks  # one for each writer


def test_small_cache(world: World) -> None:
    """What is not remembered is read again."""
    numbers = fill(world, 6)
    found = follow(world, lambda feed: some(feed, {}, Wish()), cache_bytes_max=1)

    assert sorted(filter(None, numbers)) == by_writer(found)


def test_cursor() -> None:
    """A cursor is read as it was written."""
    cursor = {7: Seen(12, -1), 2_000_000_000: Seen(0, 4_000)}

    assert ("7:12:-1,2000000000:0:4000", cursor) == (written(cursor), parse(written(cursor)))


@pytest.mark.parametrize(
    "text", ["", "1", "1:2", "1:2:3:4", "1:2:-2", "1:2:3,", "a:1:2", "\u0661:1:2", "1:2:3 ", "1:2:3\n"]
)
def test_bad_cursor(text: str) -> None:
    """What is no cursor is refused."""
    with pytest.raises(QueryError):
        parse(text)

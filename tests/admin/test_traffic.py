"""Traffic and objectives: what a page of minutes, hours and promises is made of."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

from evothesis import pg
from evothesis.admin.objectives import History, judged
from evothesis.admin.traffic import HOURS, MINUTES, Flow, Traffic
from evothesis.numbers import ACKNOWLEDGED, LOAD, LOADED, REQUESTS, WIDTH, Board, place, places
from tests.fix_world import NOW, World, entry, event

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def flow(world: World, *times: datetime) -> list[Traffic]:
    """What one and the same asks at these times."""

    async def main() -> list[Traffic]:
        asks = Flow()
        async with pg.pool(world.database, name="test") as connections:
            return [await asks.traffic(connections, at) for at in times]

    return asyncio.run(main())


def fill(world: World) -> None:
    """One event now, two a minute ago, three two hours ago, four on the day before."""
    for count, ago in ((4, 25 * HOUR), (3, 2 * HOUR), (2, MINUTE), (1, 0 * MINUTE)):
        at = NOW - ago
        events = [event(10 * count + n) | {"timestamp": at.isoformat()} for n in range(count)]
        world.put(entry(*events, at=at, withheld={"a.example": count}))
    world.load()


def test_stretches(world: World) -> None:
    """Events stand in the minute and the hour in which they were received; what is a day old stands nowhere."""
    fill(world)
    (found,) = flow(world, NOW)
    hour = NOW.replace(minute=0)

    assert (MINUTES, HOURS) == (len(found.minutes), len(found.hours))
    assert (NOW, hour) == (found.minutes[-1].begins_at, found.hours[-1].begins_at)
    assert {NOW: 1, NOW - MINUTE: 2} == {one.begins_at: one.events for one in found.minutes if one.events}
    counted = {one.begins_at: (one.events, one.withheld) for one in found.hours if one.events}
    assert (3, 3) == counted[hour - 2 * HOUR]
    assert (6, 6) == tuple(sum(part) for part in zip(*counted.values(), strict=True))


def test_next_hour(world: World) -> None:
    """What was remembered of earlier hours is asked anew when another hour has begun."""
    fill(world)
    now, later = flow(world, NOW, NOW + HOUR)

    assert [one.events for one in now.hours[1:]] == [one.events for one in later.hours[:-1]]


def counted(**numbers: float) -> list[float]:
    """What processes counted, by a few names."""
    found = [0.0] * WIDTH
    first, bounds, _ = places(ACKNOWLEDGED)
    at = {
        "taken": place(REQUESTS, "200"),
        "unavailable": place(REQUESTS, "503"),
        "quick": first + bounds.index(0.1),
        "slow": first + bounds.index(0.25),
        "loaded": place(LOADED, "stored"),
        "load_seconds": places(LOAD).sum,
        "segments": places(LOAD).first,
    }
    for name, number in numbers.items():
        found[at[name]] = number
    return found


def test_nothing() -> None:
    """Where nothing happened there is nothing to judge."""
    assert {(None, None)} == {(one.actual, one.is_met) for one in judged(counted(), delivered=0, failed=0)}


def test_met() -> None:
    """What was kept is told with how far."""
    found = judged(
        counted(taken=9_999, unavailable=1, quick=999, slow=1, loaded=1_000, load_seconds=0.5), delivered=999, failed=1
    )

    assert [("requests_taken", 0.9999), ("deliveries", 0.999), ("durable", 0.999), ("load", 5.0)] == [
        (one.name, one.actual) for one in found
    ]
    assert {True} == {one.is_met for one in found}


def test_missed() -> None:
    """What was not kept, too: a promise is more than its number."""
    found = judged(
        counted(taken=999, unavailable=1, quick=99, slow=1, loaded=1_000, load_seconds=1), delivered=199, failed=1
    )

    assert [0.999, 0.995, 0.99, 10.0] == [one.actual for one in found]
    assert {False} == {one.is_met for one in found}


def test_quiet() -> None:
    """A segment of few events is a batch of its own."""
    found = judged(counted(loaded=5, segments=5, load_seconds=0.02), delivered=0, failed=0)

    assert [4.0] == [one.actual for one in found if one.name == "load"]


def test_history(tmp_path: Path) -> None:
    """Only what was counted since the first look is told; what counts elsewhere and begins anew takes nothing away."""
    board, elsewhere, anew = Board(1, elsewhere=tmp_path), Board(1), Board(1)
    count(board, "200", 5)
    count(elsewhere, "503", 7)
    elsewhere.show(tmp_path)
    history = History(board)
    count(board, "200", 3)
    count(anew, "503", 2)
    anew.show(tmp_path)

    _, found = history.counted()
    assert (3, 0) == (found[place(REQUESTS, "200")], found[place(REQUESTS, "503")])


def count(board: Board, status: str, amount: int) -> None:
    """Count requests as the only process of a board does."""
    row = board.row(0)
    row.add(place(REQUESTS, status), amount)
    row.publish()

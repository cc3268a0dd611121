"""What is loaded is kept for a while, and what is lost is given up on record."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

import msgspec
import psycopg
import pytest
from psycopg import sql

from evothesis import pg
from evothesis.errors import LoadError
from evothesis.loader.accept import Gap, accept, gaps
from evothesis.loader.keep import REMOVALS_MAX, Keeper, forgotten
from evothesis.spool.segments import sealed
from evothesis.spool.writer import Writer
from tests.fix_appliance import MakeAppliance
from tests.fix_world import NOW, World, entry, event

HOUR = timedelta(hours=1)

LOADS_BY_NUMBER = "select writer, segment_no, sha256, hour, accepted from loads order by writer, segment_no"


def connect(world: World) -> pg.Connection:
    """A connection such as the loader has."""
    return pg.connect(world.database, name="test")


def kept(world: World) -> list[str]:
    """The loaded segments that are still there, by hour and number."""
    return sorted(f"{path.parent.name}/{path.name}" for path in world.spool.glob("*/loaded/*/*"))


def fill(world: World, hours: int) -> list[str]:
    """Load a segment of each of the last hours, the oldest first; returns what is kept."""
    for number in range(hours):
        world.put(entry(event(number), at=NOW - (hours - number) * HOUR))
    world.load()
    return kept(world)


def test_budget(world: World) -> None:
    """Beyond the budget the oldest hours go first."""
    before = fill(world, 4)
    with connect(world) as connection:
        Keeper(world.spool, 2 * 4096).sweep(connection)

    assert 4 == len(before)
    assert before[2:] == kept(world)


def test_within_budget(world: World) -> None:
    """Within the budget nothing is removed."""
    before = fill(world, 3)
    with connect(world) as connection:
        Keeper(world.spool, 3 * 4096).sweep(connection)

    assert before == kept(world)


def test_not_exported(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Removing what some destination lacks is said."""
    fill(world, 2)
    with connect(world) as connection:
        Keeper(world.spool, 0).sweep(connection)

    assert [] == kept(world)
    assert 2 == caplog.messages.count("Loaded segments removed before every destination had them.")


def test_exported(world: World, make_appliance: MakeAppliance, caplog: pytest.LogCaptureFixture) -> None:
    """What every destination has is removed without a word."""
    settings = {"database": {"url": world.database}, "spool": {"path": str(world.spool)}}
    fill(world, 2)
    done = make_appliance(settings, start=False).cli("export")
    with connect(world) as connection:
        Keeper(world.spool, 0).sweep(connection)

    assert 0 == done.returncode, done.stderr
    assert [] == kept(world)
    assert [] == [one.message for one in caplog.records if one.levelno >= logging.WARNING]


def test_many(world: World) -> None:
    """Of very many segments only some are removed at a time, the oldest ones, as new segments wait meanwhile."""
    before = fill(world, 2)
    oldest = world.writer.folder / "loaded" / before[0].partition("/")[0]
    for number in range(1, REMOVALS_MAX + 1):
        (oldest / f"{number:012d}.loaded").touch()
    with connect(world) as connection:
        keeper = Keeper(world.spool, 0)
        keeper.sweep(connection)
        after_one = kept(world)
        keeper.sweep(connection)

    assert [f"{oldest.name}/{REMOVALS_MAX:012d}.loaded", before[1]] == after_one
    assert [] == kept(world)


def test_sizes_are_remembered(world: World) -> None:
    """A second look, at hours whose sizes are known, comes to the same end."""
    before = fill(world, 4)
    keeper = Keeper(world.spool, 3 * 4096)
    with connect(world) as connection:
        keeper.sweep(connection)
        keeper.sweep(connection)

    assert before[1:] == kept(world)


def test_hour_that_comes_back(world: World) -> None:
    """An hour that is over counts with what it is given when the clock is set back into it."""
    before = fill(world, 2)
    keeper = Keeper(world.spool, 4 * 4096)
    with connect(world) as connection:
        keeper.sweep(connection)
        for number in range(3):
            world.put(entry(event(10 + number)))
            keeper.put(sealed(world.spool)[0], NOW - 2 * HOUR, is_damaged=False)
        keeper.sweep(connection)

    assert before[1:] == kept(world)


def test_no_budget(world: World) -> None:
    """A loader without a budget keeps nothing for long."""
    world.settings = msgspec.structs.replace(world.settings, loaded_bytes_max=0)
    world.put(entry(event(1)))
    world.load()
    world.load()

    assert [] == kept(world)


def forget_all(world: World, *, after: int) -> None:
    """Leave in the database what a backup would hold that was taken after that many segments of the world's writer."""
    with psycopg.connect(world.database) as connection:
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        for table in (sql.Identifier("events_log"), sql.Identifier("loads"), sql.Identifier("usage_ledger")):
            connection.execute(sql.SQL("delete from {} where segment_no >= %s").format(table), [after])
        connection.execute("truncate dedup_keys")
        connection.execute("update writers set next_segment_no = %s", [after])


@pytest.mark.parametrize("step", [-HOUR, -30 * HOUR])
def test_clock_set_back(world: World, step: timedelta) -> None:
    """Whatever a clock that was set back made of the hours, everything that the database forgot is loaded again."""
    for number in range(6):
        world.put(entry(event(number), at=NOW + step * (number // 3)))
        world.load()
    before = world.rows(LOADS_BY_NUMBER)
    forget_all(world, after=2)
    world.load()

    assert 6 == len(before)
    assert before == world.rows(LOADS_BY_NUMBER)


def test_times_that_were_lost(world: World) -> None:
    """A spool that was copied without its files' times is loaded again, each writer in its order."""
    other = Writer.claim(world.spool)
    for number in range(4):
        world.put(entry(event(number)))
        world.put(entry(event(10 + number)), writer=other)
    other.close()
    world.load()
    before = world.rows(LOADS_BY_NUMBER)
    for at, path in enumerate(sorted(world.spool.glob("*/loaded/*/*"), reverse=True)):
        os.utime(path, ns=(at, at))
    forget_all(world, after=1)
    world.load()

    assert 8 == len(before)
    assert before == world.rows(LOADS_BY_NUMBER)


def test_hour_of_damage(world: World) -> None:
    """A segment of which nothing is sound has the same hour when it is loaded again."""
    path = world.put(entry(event(0)))
    path.write_bytes(b"\0" * 100)
    at = (NOW - 3 * HOUR).timestamp()
    os.utime(path, (at, at))
    world.load()
    before = world.rows(LOADS_BY_NUMBER)
    forget_all(world, after=0)
    world.load()

    assert 1 == len(before)
    assert before == world.rows(LOADS_BY_NUMBER)


def lose(world: World) -> Gap:
    """A writer whose first two segments are gone."""
    gone = [world.put(entry(event(number))) for number in range(2)]
    world.put(entry(event(2)))
    for path in gone:
        path.unlink()
    return Gap(world.writer.writer, 0, 1)


def test_gaps(world: World) -> None:
    """What a writer waits for in vain is named, also when the database never saw the writer."""
    gap = lose(world)
    with connect(world) as connection:
        assert [gap] == gaps(connection, world.spool)


def test_gap_before_kept(world: World) -> None:
    """After a restore only what is in neither place is given up: what was kept behind it is loaded again."""
    for number in range(4):
        world.put(entry(event(number)))
        world.load()
    next(world.spool.glob("*/loaded/*/000000000001.*")).unlink()
    forget_all(world, after=1)
    gap = Gap(world.writer.writer, 1, 1)
    with connect(world) as connection:
        found = gaps(connection, world.spool)
        accept(connection, gap, actor="anna", reason="the budget was small")
        world.load()
        left = gaps(connection, world.spool)

    assert [gap] == found
    assert [0, 2, 3] == sorted(number for number, _ in world.stored())
    assert [] == left


def test_no_gap(world: World) -> None:
    """A writer that misses nothing is not named."""
    world.put(entry(event(1)))
    world.load()
    world.put(entry(event(2)))
    with connect(world) as connection:
        assert [] == gaps(connection, world.spool)


def test_accept(world: World) -> None:
    """Given up segments are rows of `loads`, the decision is on record, and what waited behind them is loaded."""
    gap = lose(world)
    with connect(world) as connection:
        accept(connection, gap, actor="anna", reason="the disk died")
    world.load()

    assert [(2, False)] == world.stored()
    lost = world.rows("select segment_no, lost, accepted from loads order by segment_no")
    assert [(0, True, 0), (1, True, 0), (2, False, 1)] == [tuple(row.values()) for row in lost]
    record = world.rows("select actor, action, details from audit_log")
    details = {"writer": gap.writer, "first": 0, "last": 1, "reason": "the disk died"}
    assert [{"actor": "anna", "action": "accept-loss", "details": details}] == record


def test_accept_too_late(world: World) -> None:
    """A gap that was closed meanwhile cannot be given up, and nothing is recorded."""
    world.put(entry(event(1)))
    world.load()
    with connect(world) as connection, pytest.raises(LoadError, match="does not wait for segment 0"):
        accept(connection, Gap(world.writer.writer, 0, 0), actor="anna", reason="a mistake")

    assert [] == world.rows("select audit_id from audit_log")


def test_forgotten(world: World) -> None:
    """Only what a restored database lacks is loaded again; older segments are not even looked at."""
    before = fill(world, 4)
    with psycopg.connect(world.database) as connection:
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        connection.execute("delete from events_log where segment_no = 3")
        connection.execute("delete from loads where segment_no = 3")
        connection.execute("delete from usage_ledger where segment_no = 3")
        connection.execute("delete from dedup_keys where key = '00000000-0000-0000-0000-000000000003'")
        connection.execute("update writers set next_segment_no = 3")
    with connect(world) as connection:
        lost = forgotten(connection, world.spool)
    world.load()

    assert [3] == [segment.segment_no for segment in lost]
    assert [(number, False) for number in range(4)] == world.stored()
    assert before == kept(world)

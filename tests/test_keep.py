"""What is loaded is kept for a while, and what is lost is given up on record."""

from __future__ import annotations

from datetime import timedelta
from typing import LiteralString

import msgspec
import psycopg
import pytest

from evothesis import pg
from evothesis.errors import LoadError
from evothesis.loader.accept import Gap, accept, gaps
from evothesis.loader.keep import Keeper
from tests.appliance import eventually
from tests.fix_world import NOW, World, entry, event

HOUR = timedelta(hours=1)


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


def test_sizes_are_remembered(world: World) -> None:
    """A second look, at hours whose sizes are known, comes to the same end."""
    before = fill(world, 4)
    keeper = Keeper(world.spool, 3 * 4096)
    with connect(world) as connection:
        keeper.sweep(connection)
        keeper.sweep(connection)

    assert before[1:] == kept(world)


def test_no_budget(world: World) -> None:
    """A loader without a budget keeps nothing for long."""
    world.settings = msgspec.structs.replace(world.settings, loaded_bytes_max=0)
    world.put(entry(event(1)))
    world.load()
    world.load()

    assert [] == kept(world)


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


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_unsafe_server(world: World, setting: LiteralString) -> None:
    """A server whose commits a crash may lose is refused."""

    def change(query: LiteralString) -> None:
        with psycopg.connect(world.database, autocommit=True) as connection:
            connection.execute(query)
            connection.execute("select pg_reload_conf()")
        eventually(lambda: [{"value": value}] == world.rows(f"select current_setting('{setting}') as value"))

    value = "off"
    change(f"alter system set {setting} = off")
    try:
        with pytest.raises(LoadError, match=f"{setting} = off"):
            world.load()
    finally:
        value = "on"
        change(f"alter system reset {setting}")

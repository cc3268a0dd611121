"""PostgreSQL keeps the loader waiting: it lives, says what it waits for, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from evothesis import heartbeat
from evothesis.migrate import LOCK
from tests.appliance import eventually
from tests.faults.loading import Loading
from tests.fix_postgres import DebianPostgres
from tests.fix_world import World, entry, event

BEATS_SECONDS = 2.5  # more than one sign of life


@pytest.fixture
def empty_world(debian_postgres: DebianPostgres, tmp_path: Path) -> Iterator[World]:
    """An empty spool, and a database in which nothing is."""
    world = World(debian_postgres.new_database(), tmp_path / "spool")
    yield world
    world.close()


def beaten_at(world: World) -> float:
    """When the loader gave its last sign of life."""
    beat = heartbeat.read(world.spool)
    assert beat
    return beat.at


def test_somebody_migrates(empty_world: World) -> None:
    """A loader that waits for another one's migration gives signs of life; then it migrates, and loads."""
    empty_world.put(entry(event(0)))
    with psycopg.connect(empty_world.database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [LOCK])
        with Loading(empty_world, empty_world.database) as loading:
            eventually(lambda: loading.troubles[0] == "the schema is being brought up to date")
            before = beaten_at(empty_world)
            eventually(lambda: beaten_at(empty_world) > before + BEATS_SECONDS)
            other.execute("select pg_advisory_unlock_all()")
            loading.wait_until_drained()
            eventually(lambda: loading.troubles == (None, None))

    assert [(0, False)] == empty_world.stored()


def test_lock(world: World) -> None:
    """A loader that waits for somebody's lock gives signs of life, and says after a while that it waits."""
    world.put(entry(event(0)))
    with psycopg.connect(world.database) as other:
        other.execute("lock table loads in exclusive mode")
        with Loading(world, world.database) as loading:
            eventually(lambda: "keeps the loader waiting" in str(loading.troubles[0]), timeout=20)
            before = beaten_at(world)
            eventually(lambda: beaten_at(world) > before + BEATS_SECONDS)
            other.rollback()
            loading.wait_until_drained()
            eventually(lambda: loading.troubles == (None, None))

    assert [(0, False)] == world.stored()

"""The appliance's own PostgreSQL does not start, or not again: events are taken all the same, and stored later."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

import psycopg
import pytest

from evothesis.appliance.postgres import Postgres
from evothesis.loader.run import Loader
from tests.appliance import Appliance, eventually
from tests.faults.conftest import MakeDisk, command, fill, free
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome
from tests.fix_world import World, entry, event

EVENTS_PER_SECOND = 200
LIVENESS_SECONDS_MAX = 10
AWAY_SECONDS_LONG = 90  # longer than the server waits for its PostgreSQL to start
DISK_BYTES = 256 * 2**20
SMALL_DISK_BYTES = 16 * 2**20  # a cluster does not fit
FULL_SECONDS = 20

Invariants = Callable[[Appliance, Oracle], Outcome]


def take_away(appliance: Appliance) -> Callable[[], object]:
    """Kill PostgreSQL, and keep it from starting again; returns what brings it back."""
    control = appliance.folder / "var/postgres/data/global/pg_control"
    elsewhere = control.rename(control.with_name("pg_control.away"))
    appliance.kill("postgres")
    return lambda: elsewhere.rename(control)


def wait_for_acks(oracle: Oracle) -> None:
    """Return when events are acknowledged again, which is soon."""
    before = oracle.journal.read().acked.total()
    eventually(lambda: oracle.journal.read().acked.total() > before + 50, timeout=LIVENESS_SECONDS_MAX)


@pytest.mark.crash
def test_collector_dies_meanwhile(appliance: Appliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """A collector that dies while PostgreSQL does not start is started again at once."""
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    bring_back = take_away(appliance)
    time.sleep(1)  # so that the parent is busy with PostgreSQL
    collectors = {appliance.kill(f"evothesis: collector {number}") for number in range(2)}
    wait_for_acks(oracle)
    bring_back()

    assert not collectors & {appliance.pid(f"evothesis: collector {number}") for number in range(2)}
    invariants(appliance, oracle)


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(300)
def test_away_for_long(appliance: Appliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """However long PostgreSQL does not start, events are taken; they are stored when it does."""
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    bring_back = take_away(appliance)
    until = time.monotonic() + AWAY_SECONDS_LONG
    while time.monotonic() < until:
        wait_for_acks(oracle)
    bring_back()

    invariants(appliance, oracle)


@pytest.mark.crash
def test_no_room_for_a_cluster(
    make_disk: MakeDisk, make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants
) -> None:
    """A first start without room for a database is an ERROR that is said once; when there is room it goes on."""
    disk = make_disk(SMALL_DISK_BYTES)
    appliance = make_appliance({"database": {"path": str(disk / "postgres")}}, start=False)
    appliance.dsn = Postgres(disk / "postgres").url
    appliance.start(with_database=False)
    oracle = make_oracle(appliance)
    oracle.send(EVENTS_PER_SECOND)
    said = "PostgreSQL does not start, trying again."
    eventually(lambda: said in appliance.output(), timeout=LIVENESS_SECONDS_MAX)
    time.sleep(2)  # it is tried again
    output = appliance.output()
    command("mount", "-o", f"remount,size={DISK_BYTES}", str(disk))

    invariants(appliance, oracle)
    assert 1 == output.count(said)
    assert "No space left on device" in output


@pytest.mark.crash
@pytest.mark.long
def test_full_database_disk(
    make_disk: MakeDisk,
    postgres_template: Path,
    make_appliance: MakeAppliance,
    make_oracle: MakeOracle,
    invariants: Invariants,
) -> None:
    """A database whose disk is full, so that it cannot even start, costs no event; when there is room it goes on."""
    disk = make_disk(DISK_BYTES)
    shutil.copytree(postgres_template, disk / "postgres/data")
    appliance = make_appliance({"database": {"path": str(disk / "postgres")}}, start=False)
    appliance.dsn = Postgres(disk / "postgres").url
    appliance.start()
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    fill(disk)
    with suppress(psycopg.OperationalError):  # the log cannot grow: the server ends
        while True:
            appliance.rows("select pg_switch_wal(), pg_logical_emit_message(true, 'test', repeat('x', 100000))")
    until = time.monotonic() + FULL_SECONDS
    while time.monotonic() < until:
        wait_for_acks(oracle)
    free(disk)

    invariants(appliance, oracle)


def test_room_for_the_database(make_disk: MakeDisk, database: str, caplog: pytest.LogCaptureFixture) -> None:
    """While a database does not answer on a full disk, what is kept of the spool makes room for it."""
    with closing(World(database, make_disk(SMALL_DISK_BYTES) / "spool")) as world:
        world.put(entry(event(1)))
        world.load()
        fill(world.spool)
        before = len(list(world.spool.glob("*/loaded/*/*")))
        stop = Event()
        stop.set()
        Loader("postgresql://127.0.0.1:1/none", world.settings, stop, lambda: None).run()

    assert (1, 0) == (before, len(list(world.spool.glob("*/loaded/*/*"))))
    assert "Loaded segments removed without asking the database which were delivered." in caplog.messages

"""The database is restored from an older backup, and the appliance goes on: nothing is lost, doubled or billed anew."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from evothesis.appliance.postgres import Postgres, binaries
from evothesis.spool.writer import Writer
from tests.appliance import Appliance
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome
from tests.fix_world import World, entry, event
from tests.invariants import broken

EVENTS = 300  # between two moments
BUCKETS = [{"name": "client", "url": "file:var/bucket"}, {"name": "backup", "url": "file:var/backup"}]
POINTS_LONG = 10

PLACES = "select event_id::text, writer, segment_no, idx from events_log order by event_id"

Invariants = Callable[[Appliance, Oracle], Outcome]


class Copies:
    """Backups: the files of a stopped server."""

    def __init__(self, appliance: Appliance, folder: Path) -> None:
        """None was taken yet."""
        self._appliance = appliance
        self._folder = folder
        self._data = appliance.folder / "var/postgres/data"

    def take(self, name: str) -> None:
        """Take one."""
        self._appliance.stop()
        shutil.copytree(self._data, self._folder / name)
        self._appliance.start()

    def restore(self, name: str) -> None:
        """Go back to one, and start."""
        self._appliance.stop()
        shutil.rmtree(self._data)
        shutil.copytree(self._folder / name, self._data)
        self._appliance.start()


class Dumps:
    """Backups: what pg_dump writes, brought into another cluster."""

    def __init__(self, appliance: Appliance, folder: Path) -> None:
        """None was taken yet."""
        self._appliance = appliance
        self._folder = folder

    def take(self, name: str) -> None:
        """Take one, while events come in."""
        dump = str(self._folder / name)
        subprocess.run([binaries() / "pg_dump", "-Fc", "-f", dump, self._appliance.dsn], check=True)

    def restore(self, name: str) -> None:
        """Make a new cluster, go back to one, and start."""
        self._appliance.stop()
        shutil.rmtree(self._appliance.folder / "var/postgres/data")
        server = Postgres(self._appliance.folder / "var/postgres")
        assert server.acquire()
        server.start()
        try:
            with psycopg.connect(server.url) as connection:
                assert connection.execute("select from pg_class where relname = 'loads'").fetchall() == []
            dump = str(self._folder / name)
            subprocess.run([binaries() / "pg_restore", "--exit-on-error", "-d", server.url, dump], check=True)
        finally:
            server.stop()
        self._appliance.start()


Backups = type[Copies] | type[Dumps]


def check(appliance: Appliance, oracle: Oracle) -> None:
    """Assert that PostgreSQL has everything that was acknowledged once, and bills it once, whatever buckets hold."""
    oracle.pause()
    appliance.wait_until_drained()
    months = appliance.rows("select distinct to_char(usage_day, 'YYYY-MM') as month from usage_ledger")
    usage = [appliance.usage("--month", row["month"]) for row in months]
    assert [] == broken(oracle.journal.read(), appliance.dsn, [], usage)


@pytest.mark.crash
@pytest.mark.parametrize("backups", [pytest.param(Copies, marks=pytest.mark.long), Dumps])
def test_restored(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, tmp_path: Path, backups: Backups
) -> None:
    """A database that is restored once is filled up again from the segments that were kept, and goes on."""
    appliance = make_appliance()
    oracle = make_oracle(appliance)
    backup = backups(appliance, tmp_path)
    oracle.send(EVENTS)
    oracle.run()  # events come in while the backup is taken
    backup.take("backup")
    oracle.send(EVENTS)
    appliance.wait_until_drained()
    backup.restore("backup")
    oracle.send(EVENTS)

    invariants(appliance, oracle)


@pytest.mark.crash
@pytest.mark.parametrize(
    ("backups", "is_exported_before"),
    [
        (Copies, False),
        pytest.param(Copies, True, marks=pytest.mark.long),
        pytest.param(Dumps, False, marks=pytest.mark.long),
        pytest.param(Dumps, True, marks=pytest.mark.long),
    ],
)
def test_restored_between_exports(
    make_appliance: MakeAppliance,
    make_oracle: MakeOracle,
    invariants: Invariants,
    tmp_path: Path,
    backups: Backups,
    *,
    is_exported_before: bool,
) -> None:
    """A database that forgot what was delivered delivers nothing twice, and what came later once."""
    appliance = make_appliance({"export": {"destination": BUCKETS, "rows_max": 100}})
    oracle = make_oracle(appliance)
    backup = backups(appliance, tmp_path)
    oracle.send(EVENTS)
    appliance.wait_until_drained()
    if is_exported_before:
        appliance.export()
    backup.take("backup")
    oracle.send(EVENTS)
    appliance.wait_until_drained()
    appliance.export()
    backup.restore("backup")
    oracle.send(EVENTS)

    invariants(appliance, oracle)


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("backups", [Copies, Dumps])
def test_restored_often(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, tmp_path: Path, backups: Backups
) -> None:
    """Restored to each of ten moments, in any order, the database is filled up again each time."""
    appliance = make_appliance()
    oracle = make_oracle(appliance)
    backup = backups(appliance, tmp_path)
    for point in range(POINTS_LONG):
        backup.take(str(point))
        oracle.send(EVENTS)
    points = random.Random(oracle.seed).sample(range(POINTS_LONG), POINTS_LONG)
    for point in points:
        appliance.wait_until_drained()
        backup.restore(str(point))
        oracle.send(EVENTS)
        check(appliance, oracle)

    invariants(appliance, oracle)


def test_same_places(world: World) -> None:
    """An event that two writers received is stored by the same one when the segments are loaded again."""
    other = Writer.claim(world.spool)
    for number in range(5):
        world.put(entry(event(number)))
        world.load()
    world.put(entry(event(100)))
    world.load()
    world.put(entry(event(100)), writer=other)
    world.load()
    before = world.rows(PLACES)
    with psycopg.connect(world.database) as connection:
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        connection.execute("truncate events_log, loads, usage_ledger, dedup_keys, writers")
    world.load()
    other.close()

    assert before == world.rows(PLACES)

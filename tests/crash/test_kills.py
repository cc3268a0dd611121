"""SIGKILL of each process while events come in: what was acknowledged is stored, exported and billed once."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.appliance import Appliance, eventually
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome
from tests.fix_postgres import DebianPostgres

BUCKETS = [{"name": "client", "url": "file:var/bucket"}, {"name": "backup", "url": "file:var/backup"}]
SETTINGS = {"export": {"destination": BUCKETS, "rows_max": 2_000}}
LOAD_EVENTS_PER_SECOND = 1_000
LOAD_CONNECTIONS = 6
BACKLOG_SEGMENTS = 6
KILLS = 2
EXPORT_KILLS = 3
KILLS_LONG = 100
POSTGRES_KILLS_LONG = 25
LONG_SECONDS_MAX = 3_000
EXPORTING = "select from pg_stat_activity where application_name = 'evothesis export'"

Kill = Callable[[Appliance, random.Random], object]
Invariants = Callable[[Appliance, Oracle], Outcome]


def kill_collector(appliance: Appliance, chance: random.Random) -> None:
    """One of the two; its connections break, what it wrote and did not seal waits for the next one."""
    appliance.kill(f"evothesis: collector {chance.randrange(2)}")


def kill_loader(appliance: Appliance, chance: random.Random) -> None:
    """Held up until segments wait, then let go and killed while it works on them."""
    loader = appliance.pid("evothesis: loader")
    appliance.send(loader, signal.SIGSTOP)
    eventually(lambda: len(appliance.waiting_segments()) >= BACKLOG_SEGMENTS)
    appliance.send(loader, signal.SIGCONT)
    time.sleep(chance.random() * 0.06)  # a moment within the loads: there is nothing to be waited for
    appliance.kill("evothesis: loader")


def kill_postgres(appliance: Appliance, chance: random.Random) -> None:
    """The postmaster: its children end when they notice."""
    time.sleep(chance.random() * 0.1)
    appliance.kill("postgres")


def kill_parent(appliance: Appliance, _chance: random.Random) -> None:
    """The process that started all others, which end by themselves; an operator, or systemd, starts it again."""
    appliance.kill("serve")
    appliance.start()


def kill_all(appliance: Appliance, _chance: random.Random) -> None:
    """Every process at once, PostgreSQL's too."""
    appliance.destroy()
    appliance.start()


def stop_all(appliance: Appliance, _chance: random.Random) -> None:
    """Nothing is killed: SIGTERM to the parent, as systemd and Ctrl-C end it, while requests are under way."""
    appliance.stop()
    appliance.start()


VICTIMS = {
    "collector": kill_collector,
    "loader": kill_loader,
    "postgres": kill_postgres,
    "parent": kill_parent,
    "all": kill_all,
    "none": stop_all,
}


def kill_under_load(appliance: Appliance, oracle: Oracle, kill: Kill, chance: random.Random) -> None:
    """Kill at a random moment, while answers come in; returns when they come in again."""
    wait_for_answers(oracle)
    time.sleep(chance.random() * 0.3)  # anywhere between two seals
    kill(appliance, chance)
    wait_for_answers(oracle)


def wait_for_answers(oracle: Oracle) -> None:
    """Return when a hundred more events were acknowledged."""
    enough = oracle.journal.read().acked.total() + 100
    eventually(lambda: oracle.journal.read().acked.total() >= enough, timeout=30, message="no more answers")


@pytest.mark.crash
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed(victim: str, make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """Killed twice under load, everything that was acknowledged arrives once, and is billed once."""
    appliance = make_appliance(SETTINGS)
    oracle = make_oracle(appliance, connections=LOAD_CONNECTIONS, events_per_second=LOAD_EVENTS_PER_SECOND)
    chance = random.Random(oracle.seed)
    oracle.run()

    for _ in range(KILLS):
        kill_under_load(appliance, oracle, VICTIMS[victim], chance)

    outcome = invariants(appliance, oracle)
    assert outcome.duplicates > 0
    assert outcome.rejected > 0


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS_MAX)
@pytest.mark.parametrize(
    ("victim", "kills"),
    [
        ("collector", KILLS_LONG),
        ("loader", KILLS_LONG),
        ("postgres", POSTGRES_KILLS_LONG),
        ("all", POSTGRES_KILLS_LONG),
    ],
)
def test_killed_often(
    victim: str, kills: int, make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants
) -> None:
    """Killed again and again, all invariants hold after each time."""
    appliance = make_appliance(SETTINGS)
    oracle = make_oracle(appliance, connections=LOAD_CONNECTIONS, events_per_second=LOAD_EVENTS_PER_SECOND / 2)
    chance = random.Random(oracle.seed)

    for _ in range(kills):
        oracle.run()
        kill_under_load(appliance, oracle, VICTIMS[victim], chance)
        invariants(appliance, oracle)


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(LONG_SECONDS_MAX)
def test_stopped_postgres(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, debian_postgres: DebianPostgres
) -> None:
    """Events are taken while Debian's PostgreSQL is away; after each immediate stop all invariants hold."""
    appliance = make_appliance(SETTINGS | {"database": {"url": debian_postgres.new_database()}})
    oracle = make_oracle(appliance, connections=LOAD_CONNECTIONS, events_per_second=LOAD_EVENTS_PER_SECOND / 2)
    chance = random.Random(oracle.seed)

    for _ in range(POSTGRES_KILLS_LONG):
        oracle.run()
        wait_for_answers(oracle)
        time.sleep(chance.random() * 0.3)  # anywhere between two seals
        debian_postgres.stop(signal.SIGQUIT)
        wait_for_answers(oracle)
        debian_postgres.start()
        invariants(appliance, oracle)


@pytest.mark.crash
def test_killed_export(make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """An export that is killed in the middle is finished by the next one, without a second copy of anything."""
    appliance = make_appliance({"export": {"destination": BUCKETS, "rows_max": 100}})  # several files each time
    oracle = make_oracle(appliance, connections=LOAD_CONNECTIONS)
    chance = random.Random(oracle.seed)
    codes = []

    for _ in range(EXPORT_KILLS):
        oracle.send(300)
        appliance.wait_until_drained()
        codes.append(kill_export(appliance, chance))

    assert -signal.SIGKILL in codes
    invariants(appliance, oracle)


def kill_export(appliance: Appliance, chance: random.Random) -> int:
    """Start an export and kill it somewhere between its first file and its last manifest; returns how it ended."""
    files = count_files(appliance)
    export = appliance.spawn("export")
    eventually(lambda: count_files(appliance) > files or export.poll() is not None, timeout=30)
    time.sleep(chance.random() * 0.3)
    export.kill()
    code = export.wait()
    # PostgreSQL lets go of the lock when it notices that its client is gone
    eventually(lambda: not appliance.rows(EXPORTING))
    return code


def count_files(appliance: Appliance) -> int:
    """How many files lie in all buckets, finished or not."""
    return sum(1 for bucket in appliance.buckets for path in bucket.rglob("*") if path.is_file())

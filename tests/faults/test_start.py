"""`serve` starts while its database is absent, slow, or not as it should be: events are taken at once, stored later."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from evothesis.migrate import LOCK
from evothesis.supervisor import STILL_SECONDS_MAX
from tests.appliance import START_SECONDS_MAX, Appliance, eventually
from tests.collector.client import ask
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome
from tests.fix_postgres import DebianPostgres

EVENTS = 200
LIVENESS_SECONDS_MAX = 10

Invariants = Callable[[Appliance, Oracle], Outcome]
Phase = Callable[[Appliance], Callable[[], object]]


def reason(appliance: Appliance) -> str:
    """Why the database is not used, as monitors are told; the appliance must take events all the same."""
    health = appliance.health()
    assert ("degraded", True, False) == (
        health["status"],
        health["spool"]["accepting"],
        health["database"]["connected"],
    )
    return str(health["database"]["reason"])


def count(appliance: Appliance) -> tuple[int, str]:
    """The operator's question that needs the database: the answer's status, and its word for an error."""
    answer = ask(appliance.admin_url, "GET", "/events/count", headers=appliance.admin_headers)
    return answer.error if answer.status != 200 else (200, "")


@pytest.mark.crash
def test_away(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, own_postgres: DebianPostgres
) -> None:
    """With nobody where the database should be events are taken; when it is there it is migrated, and filled."""
    appliance = make_appliance({"database": {"url": own_postgres.new_database()}}, start=False)
    own_postgres.stop()
    appliance.start(with_database=False)
    oracle = make_oracle(appliance)
    oracle.send(EVENTS)
    eventually(lambda: "cannot connect to PostgreSQL" in reason(appliance))
    assert (503, "database_unreachable") == count(appliance)
    own_postgres.start()

    invariants(appliance, oracle)
    eventually(lambda: count(appliance) == (200, ""))
    assert "Traceback" not in appliance.output()


def wrong_password(server: DebianPostgres) -> tuple[str, str, Callable[[], object]]:
    """The role has another one."""
    url = server.new_database()
    access = server.folder / "data/pg_hba.conf"
    access.write_text("local all loader scram-sha-256\n" + access.read_text())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role loader superuser login password 'right'")
        connection.execute("select pg_reload_conf()")

    def mend() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("alter role loader password 'wrong-one'")

    return (
        url.replace("user=evothesis", "user=loader password=wrong-one"),
        "password authentication failed",
        mend,
    )


def no_database(server: DebianPostgres) -> tuple[str, str, Callable[[], object]]:
    """Nobody has made it yet."""
    url = server.url("later")

    def mend() -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("create database later")

    return url, 'database "later" does not exist', mend


def newer_schema(server: DebianPostgres) -> tuple[str, str, Callable[[], object]]:
    """A newer version has worked with it."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create table schema_migrations (version int, name text, sha256 text, applied_at timestamptz)"
        )
        connection.execute("insert into schema_migrations values (9999, 'of_tomorrow', '')")

    def mend() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("drop table schema_migrations")

    return url, "the database has migration 9999 (of_tomorrow), which this version does not know", mend


@pytest.mark.parametrize("trouble", [wrong_password, no_database, newer_schema])
def test_refused(
    make_appliance: MakeAppliance,
    make_oracle: MakeOracle,
    invariants: Invariants,
    own_postgres: DebianPostgres,
    trouble: Callable[[DebianPostgres], tuple[str, str, Callable[[], object]]],
) -> None:
    """What a person must mend is said once as an ERROR, with what to try; events are taken until it is mended."""
    url, expected, mend = trouble(own_postgres)
    appliance = make_appliance({"database": {"url": url}}, start=False)
    appliance.dsn = url.replace("user=loader password=wrong-one", "user=evothesis")
    appliance.start(with_database=False)
    oracle = make_oracle(appliance)
    oracle.send(EVENTS)
    eventually(lambda: expected in reason(appliance))
    said = [line for line in appliance.output().splitlines() if " ERROR " in line]
    mend()

    invariants(appliance, oracle)
    assert 1 == len(said), said
    assert expected in said[0].replace('\\"', '"')
    assert ' hint="' in said[0]
    assert "wrong-one" not in appliance.output()


def test_schema_is_waited_for(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, debian_postgres: DebianPostgres
) -> None:
    """While somebody else migrates the loader waits and lives, and who asks for events is told why there are none."""
    url = debian_postgres.new_database()
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [LOCK])
        appliance = make_appliance({"database": {"url": url}}, start=False).start(with_database=False)
        oracle = make_oracle(appliance)
        oracle.send(EVENTS)
        eventually(lambda: reason(appliance) == "the schema is being brought up to date")
        answers = [count(appliance), ask(appliance.admin_url, "GET", "/health").status]
    invariants(appliance, oracle)

    assert [(503, "schema_outdated"), 503] == answers
    assert "Traceback" not in appliance.output()


@pytest.mark.long
@pytest.mark.timeout(240)
def test_long_lock(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, debian_postgres: DebianPostgres
) -> None:
    """A loader that waits for a lock, however long, is not taken for one that stands still, and says that it waits."""
    url = debian_postgres.new_database()
    appliance = make_appliance({"database": {"url": url}})
    before = appliance.pid("evothesis: loader")
    oracle = make_oracle(appliance)
    with psycopg.connect(url) as other:
        other.execute("lock table loads in exclusive mode")
        oracle.send(EVENTS)
        eventually(lambda: "keeps the loader waiting" in reason(appliance), timeout=30)
        until = time.monotonic() + STILL_SECONDS_MAX + LIVENESS_SECONDS_MAX
        while time.monotonic() < until:
            assert appliance.health()["loader"]["alive"]
            time.sleep(1)
    invariants(appliance, oracle)

    assert before == appliance.pid("evothesis: loader")


def creating(appliance: Appliance) -> Callable[[], object]:
    """The cluster is being made; initdb is held."""
    data = appliance.folder / "var/postgres/data"
    shutil.rmtree(data)

    def hold() -> int:
        is_initdb = (pid for pid, title in appliance.processes().items() if title.split(" ")[0].endswith("/initdb"))
        if found := next(is_initdb, 0):
            appliance.send(found, signal.SIGSTOP)
        return found

    with ThreadPoolExecutor(1) as executor:
        holding = executor.submit(eventually, hold, timeout=START_SECONDS_MAX)
        appliance.start(with_database=False)
        held = holding.result()
    assert not data.exists()
    return lambda: appliance.send(held, signal.SIGCONT)


def recovering(appliance: Appliance) -> Callable[[], object]:
    """The server recovers, for as long as its archive does not say that there is no more to recover."""
    data = appliance.folder / "var/postgres/data"
    hold = appliance.folder / "hold"
    hold.touch()
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"restore_command = 'while [ -e {hold} ]; do sleep 0.05; done; false'\n")
    appliance.start(with_database=False)
    eventually(lambda: "the database system is" in reason(appliance))
    return hold.unlink


def hanging(appliance: Appliance) -> Callable[[], object]:
    """The server recovers, and does not even say so."""
    release = recovering(appliance)
    held = appliance.pid("postgres")
    appliance.send(held, signal.SIGSTOP)
    eventually(lambda: "timeout" in reason(appliance))

    def let_go() -> None:
        appliance.send(held, signal.SIGCONT)
        release()

    return let_go


@pytest.mark.crash
@pytest.mark.parametrize("phase", [creating, pytest.param(recovering, marks=pytest.mark.long), hanging])
def test_slow(make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, phase: Phase) -> None:
    """However long the appliance's own PostgreSQL takes to start, events are taken; then they are stored."""
    appliance = make_appliance(start=False)
    release = phase(appliance)
    oracle = make_oracle(appliance)
    oracle.send(EVENTS)
    killed = appliance.kill("evothesis: collector 0")
    eventually(lambda: appliance.pid("evothesis: collector 0") != killed)
    oracle.send(EVENTS)
    assert reason(appliance)
    release()

    invariants(appliance, oracle)


@pytest.mark.crash
@pytest.mark.parametrize(
    "phase", [creating, pytest.param(recovering, marks=pytest.mark.long), pytest.param(hanging, marks=pytest.mark.long)]
)
def test_stopped_before(
    make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants, phase: Phase
) -> None:
    """SIGTERM before PostgreSQL has started ends everything in time; what was accepted is stored by the next one."""
    appliance = make_appliance(start=False)
    phase(appliance)
    oracle = make_oracle(appliance)
    oracle.send(EVENTS)
    appliance.stop()
    waiting = appliance.waiting_segments()
    (appliance.folder / "hold").unlink(missing_ok=True)
    appliance.start()

    assert waiting
    assert [name for name in waiting if name.endswith(".sealed")] == waiting
    invariants(appliance, oracle)


@pytest.mark.crash
def test_killed_before(make_appliance: MakeAppliance) -> None:
    """A parent that is killed while the cluster is made leaves nothing behind that goes on with it."""
    appliance = make_appliance(start=False)
    release = creating(appliance)
    os.kill(appliance.pid("serve"), signal.SIGKILL)
    release()
    eventually(lambda: not appliance.processes(), timeout=LIVENESS_SECONDS_MAX)
    appliance.destroy()
    appliance.start()

    assert [{"loads": 0}] == appliance.rows("select count(*) as loads from loads")


def test_demo(make_appliance: MakeAppliance) -> None:
    """The demo says where it is when its panel has something to ask; until then the panel is told to wait."""
    appliance = make_appliance(demo=True, start=False)
    release = recovering(appliance)
    before = appliance.output()
    status = ask(appliance.demo_url, "GET", "/recent").status
    release()
    eventually(lambda: appliance.demo_url in appliance.output(), timeout=LIVENESS_SECONDS_MAX)

    assert 503 == status
    assert appliance.demo_url not in before
    assert "Traceback" not in appliance.output()
    eventually(lambda: ask(appliance.demo_url, "GET", "/recent").status == 200)

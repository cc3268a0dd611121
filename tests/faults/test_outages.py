"""PostgreSQL is away, or refuses: the loader says so, waits, and goes on when it can; nothing is lost."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from evothesis import pg
from evothesis.appliance.postgres import Postgres
from evothesis.errors import LoadError
from tests.appliance import eventually
from tests.faults.loading import Loading
from tests.fix_world import World, entry, event

SEGMENTS = 20
RESTARTS = 3
WAIT_SECONDS = 1.2  # in which a trouble is met several times
SAID_MAX = 2  # log lines about one trouble, however often it is met
LIVENESS_SECONDS_MAX = 10

Mend = Callable[[], object]
Break = Callable[[World, ExitStack], Mend]


@pytest.fixture
def server(postgres_template: Path) -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, running."""
    with tempfile.TemporaryDirectory(prefix="evothesis-") as folder:
        shutil.copytree(postgres_template, Path(folder) / "data")
        server = Postgres(Path(folder))
        start(server)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own_world(server: Postgres, tmp_path: Path) -> Iterator[World]:
    """An empty spool, and an empty database on a server of its own."""
    world = World(server.url, tmp_path / "spool")
    yield world
    world.close()


def start(server: Postgres) -> None:
    """Start a server that does not run."""
    assert server.acquire()
    server.start()


def answers_again(server: Postgres) -> bool:
    """Tend a server that ended, as its appliance does."""
    server.tend()
    return server.answers()


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What the loader has said about the database at that level."""
    return [f"{one.message} {vars(one).get('reason')}" for one in caplog.records if one.levelno == level]


def execute(dsn: str, *statements: LiteralString | sql.Composed) -> None:
    """Do something to a database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def test_away(own_world: World, server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """A server that is away for a while is waited for; then everything is loaded, in order, soon."""
    with Loading(own_world, server.url) as loading:
        own_world.put(entry(event(0)))
        loading.wait_until_drained()
        server.stop()
        for number in range(1, SEGMENTS):
            own_world.put(entry(event(number)))
        eventually(lambda: "connection" in str(loading.troubles[0]))
        start(server)
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)
        eventually(lambda: loading.troubles == (None, None))

    assert [(number, False) for number in range(SEGMENTS)] == own_world.stored()
    assert [(number, 1) for number in range(SEGMENTS)] == own_world.loads("segment_no", "accepted")
    assert [] == told(caplog, logging.ERROR)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_restarts(own_world: World, server: Postgres, number: signal.Signals) -> None:
    """Server restarts while segments come in, orderly ones and ones that are as good as crashes, lose nothing."""
    with Loading(own_world, server.url) as loading:
        for event_number in range(SEGMENTS * RESTARTS):
            own_world.put(entry(event(event_number)))
            if event_number % SEGMENTS == SEGMENTS // 2:
                assert server._process
                server._process.send_signal(number)
                server._process.wait()
                eventually(lambda: answers_again(server))
        loading.wait_until_drained()

    assert [(number, False) for number in range(SEGMENTS * RESTARTS)] == own_world.stored()


def read_only(world: World, _stack: ExitStack) -> Mend:
    """What an operator, or a full disk of a managed database, does."""
    name = sql.Identifier(str(conninfo_to_dict(world.database)["dbname"]))
    execute(world.database, sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    reset = sql.SQL("alter database {} reset default_transaction_read_only").format(name)
    return lambda: execute(world.database, "set default_transaction_read_only = off", reset)


def statement_timeout(world: World, stack: ExitStack) -> Mend:
    """Statements that wait for somebody else's lock are cancelled."""
    name = sql.Identifier(str(conninfo_to_dict(world.database)["dbname"]))
    execute(world.database, sql.SQL("alter database {} set statement_timeout = '100ms'").format(name))
    other = stack.enter_context(psycopg.connect(world.database))
    other.execute("lock table loads in exclusive mode")
    return other.rollback


def too_many_connections(world: World, stack: ExitStack) -> Mend:
    """Others hold all of the server's connections."""
    held = stack.enter_context(ExitStack())
    try:
        while True:
            held.enter_context(psycopg.connect(world.database))
    except psycopg.OperationalError:
        return held.close


@pytest.mark.parametrize("trouble", [read_only, statement_timeout, too_many_connections])
def test_trouble_that_passes(world: World, trouble: Break, caplog: pytest.LogCaptureFixture) -> None:
    """What passes by itself is a warning, said once; no row is put aside for it; then the loader goes on."""
    world.put(entry(event(0)))
    with ExitStack() as stack:
        mend = trouble(world, stack)
        with Loading(world, world.database) as loading:
            loading.wait_for_trouble()
            until = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < until:
                assert loading.is_running
                time.sleep(0.05)
            mend()
            loading.wait_until_drained(LIVENESS_SECONDS_MAX)

    assert [(0, False)] == world.stored()
    assert [(1, 0)] == world.loads("accepted", "rejected")
    assert [] == told(caplog, logging.ERROR)
    assert 1 <= len(told(caplog, logging.WARNING)) <= SAID_MAX


def test_recovery(own_world: World, server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """A server in recovery, which can be read and not be written, is waited for until it is promoted."""
    server.stop()
    (server._data / "standby.signal").touch()
    start(server)
    own_world.put(entry(event(0)))
    with Loading(own_world, server.url) as loading:
        loading.wait_for_trouble()
        execute(server.url, "select pg_promote()")
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)

    assert [(0, False)] == own_world.stored()
    assert [] == told(caplog, logging.ERROR)


def missing_table(world: World, _stack: ExitStack) -> Mend:
    """Somebody has renamed it."""
    execute(world.database, "alter table usage_ledger rename to elsewhere")
    return lambda: execute(world.database, "alter table elsewhere rename to usage_ledger")


def missing_database(world: World, _stack: ExitStack) -> Mend:
    """Somebody has renamed it."""
    name = sql.Identifier(str(conninfo_to_dict(world.database)["dbname"]))
    elsewhere = make_conninfo(world.database, dbname="template1")
    execute(elsewhere, sql.SQL("alter database {} rename to elsewhere").format(name))
    return lambda: execute(elsewhere, sql.SQL("alter database elsewhere rename to {}").format(name))


@pytest.mark.parametrize("trouble", [missing_table, missing_database])
def test_trouble_that_stays(world: World, trouble: Break, caplog: pytest.LogCaptureFixture) -> None:
    """What a person must mend is an error, said once; nothing is lost; when it is mended the loader goes on."""
    world.put(entry(event(0)))
    with ExitStack() as stack:
        mend = trouble(world, stack)
        with Loading(world, world.database) as loading:
            loading.wait_for_trouble()
            until = time.monotonic() + WAIT_SECONDS
            while time.monotonic() < until:
                assert loading.is_running
                time.sleep(0.05)
            mend()
            loading.wait_until_drained(LIVENESS_SECONDS_MAX)

    assert [(0, False)] == world.stored()
    assert [(1, 0)] == world.loads("accepted", "rejected")
    assert 1 <= len(told(caplog, logging.ERROR)) <= SAID_MAX


def test_wrong_password(own_world: World, server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong password is an error that names it and does not show it, until it is right."""
    access = server._data / "pg_hba.conf"
    access.write_text("local all loader scram-sha-256\n" + access.read_text())
    execute(server.url, "create role loader superuser login password 'right'", "select pg_reload_conf()")
    own_world.put(entry(event(0)))
    with Loading(own_world, make_conninfo(server.url, user="loader", password="wrong-one")) as loading:
        eventually(lambda: "password authentication failed" in str(loading.troubles[0]))
        execute(server.url, "alter role loader password 'wrong-one'")
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)

    assert [(0, False)] == own_world.stored()
    errors = told(caplog, logging.ERROR)
    assert 1 <= len(errors) <= SAID_MAX
    assert "password authentication failed" in errors[0]
    assert "wrong-one" not in caplog.text


def test_two_loaders(world: World) -> None:
    """Of two loaders on one database one ends, and says why; the other one loads."""
    with Loading(world, world.database) as first:
        world.put(entry(event(0)))
        first.wait_until_drained()
        with (
            pytest.raises(LoadError, match="another loader works on this database"),
            Loading(world, world.database) as second,
        ):
            eventually(lambda: not second.is_running)
        world.put(entry(event(1)))
        first.wait_until_drained()

    assert [(0, False), (1, False)] == world.stored()


def test_client_that_vanished(world: World) -> None:
    """The server notices within half a minute that a client is gone without a word, and gives its locks up."""
    query = "select name, reset_val from pg_settings where name like 'tcp_keepalives%' order by name"
    with pg.connect(world.database, name="test") as connection:
        found = {row["name"]: row["reset_val"] for row in connection.execute(query).fetchall()}

    assert {"tcp_keepalives_count": "3", "tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5"} == found

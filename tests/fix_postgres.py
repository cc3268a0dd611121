"""PostgreSQL for tests: one server a session, a fresh database a test.

def test_one(database): ...           # the URL of a migrated, empty database on the embedded PostgreSQL
def test_two(debian_postgres): ...    # Debian's PostgreSQL: debian_postgres.new_database() is empty, not migrated
def test_three(own_postgres): ...     # the same, of this test's own: it may be stopped
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from evothesis.appliance.postgres import Postgres
from tests.appliance import Appliance, eventually

STOP_SECONDS_MAX = 20
DEBIAN = Path("/usr/lib/postgresql")

_numbers = itertools.count()


class DebianPostgres:
    """A cluster of Debian's PostgreSQL, whichever version is installed, in `folder`; only a socket leads to it."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        self.folder = folder
        found = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
        assert found, f"no PostgreSQL in {DEBIAN}: apt-get install postgresql"
        self._binaries = found[-1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create the cluster where there is none, start the server, return when it answers."""
        data = str(self.folder / "data")
        if not (self.folder / "data").exists():
            command = self._command("initdb", "-D", data, "-U", "evothesis", "--auth=trust", "--encoding=UTF8")
            subprocess.run([*command, "--locale=C.UTF-8", "--no-sync"], check=True, capture_output=True)
        command = self._command("postgres", "-D", data, "-k", str(self.folder), "-h", "")
        with (self.folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers() -> bool:
            psycopg.connect(self.url("postgres")).close()
            return True

        eventually(answers, timeout=STOP_SECONDS_MAX)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT is a fast shutdown, SIGQUIT an immediate one, which is as good as a crash."""
        assert self._process, "it does not run"
        self._process.send_signal(number)
        self._process.wait(STOP_SECONDS_MAX)
        self._process = None

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(_numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.url(name)

    def url(self, name: str) -> str:
        """Where a database is."""
        return f"host={self.folder} user=evothesis dbname={name}"

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._binaries / program), *arguments]
        # PostgreSQL refuses root; in a user namespace it sees itself as somebody else
        as_somebody = ["/usr/bin/unshare", "--user", "--map-user=1", "--map-group=1"]
        return [*as_somebody, *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a migrated, cleanly stopped cluster, to be copied: making one takes longer than most tests."""
    appliance = Appliance(tmp_path_factory.mktemp("template"))
    done = appliance.cli("migrate")
    assert 0 == done.returncode, done.stderr
    return appliance.folder / "var/postgres/data"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Postgres]:
    """The embedded PostgreSQL, running; its database `postgres` is migrated, and stays as it is."""
    folder = tmp_path_factory.mktemp("postgres")
    shutil.copytree(postgres_template, folder / "data")
    server = Postgres(folder)
    assert server.acquire()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def new_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a migrated, empty database, for as long as the block lasts."""
    name = f"test_{next(_numbers)}"
    identifier = sql.Identifier(name)
    elsewhere = postgres.url.replace("dbname=postgres", "dbname=template1")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template postgres").format(identifier))
        yield postgres.url.replace("dbname=postgres", f"dbname={name}")
        connection.execute(sql.SQL("drop database {} with (force)").format(identifier))


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """The URL of a migrated, empty database that only this test uses."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def own_postgres() -> Iterator[DebianPostgres]:
    """A PostgreSQL that this test may take away."""
    with tempfile.TemporaryDirectory(prefix="evothesis-") as folder:  # a socket's path is short by nature
        server = DebianPostgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            if server._process:
                server.stop()


@pytest.fixture(scope="session")
def debian_postgres() -> Iterator[DebianPostgres]:
    """Debian's PostgreSQL, running."""
    # a socket's path is short by nature, pytest's folders are not
    with tempfile.TemporaryDirectory(prefix="evothesis-") as folder:
        server = DebianPostgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()

"""Migrations: a database as it is in, a schema at this version or a reason why not out; on each PostgreSQL we have."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from evothesis import pg
from evothesis.appliance.postgres import Postgres
from evothesis.errors import MigrationError
from evothesis.migrate import find, migrate, pending, require_current

ROOT = Path(__file__).parent.parent
NAMES = sorted(file.stem for file in (ROOT / "migrations").glob("*.sql"))
TOGETHER = 20

_numbers = itertools.count()


class Checkout:
    """A copy of the code and its migrations, to be changed, that works on `url`."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url
        for name in ("evothesis", "migrations"):
            shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, name: str, text: str) -> Path:
        """Write the next migration."""
        file = self.path / f"migrations/{len(NAMES) + 1:04}_{name}.sql"
        file.write_text(text)
        return file

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `evothesis …` with the copied code."""
        return subprocess.run(
            [sys.executable, "-m", "evothesis", *arguments],
            cwd=self.path,
            env=os.environ | {"EVOTHESIS_DATABASE_URL": self.url, "PYTHONPATH": str(self.path)},
            capture_output=True,
            text=True,
            check=False,
        )

    def outcome(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the first line that is no log line: the result, or the error."""
        done = self.run(*arguments)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        return done.returncode, [*errors, *done.stdout.splitlines(), ""][0]


@pytest.fixture(params=["embedded", "debian"])
def empty_database(request: pytest.FixtureRequest, postgres: Postgres) -> str:
    """The URL of a database in which nothing is, on the embedded PostgreSQL and on Debian's."""
    if request.param == "debian":
        return str(request.getfixturevalue("debian_postgres").new_database())
    name = f"empty_{next(_numbers)}"
    with psycopg.connect(postgres.url.replace("dbname=postgres", "dbname=template1"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    return postgres.url.replace("dbname=postgres", f"dbname={name}")


@pytest.fixture
def checkout(tmp_path: Path, database: str) -> Checkout:
    """A copy of the code, with a migrated database."""
    return Checkout(tmp_path, database)


def values(url: str, query: LiteralString) -> list[object]:
    """The first column of what a query finds."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query).fetchall()]


def test_names() -> None:
    """Files are numbered 1, 2, 3 … without a gap, and are found in that order."""
    assert [f"{number:04}" for number in range(1, len(NAMES) + 1)] == [name[:4] for name in NAMES]
    assert NAMES == [migration.name for migration in find()]


def test_everything_is_applied(empty_database: str) -> None:
    """An empty database gets every migration, in order, and a second run finds nothing to do."""
    with pg.connect(empty_database, name="test") as connection:
        first = [migration.name for migration in migrate(connection)]
        second = migrate(connection)

    assert (NAMES, []) == (first, second)
    assert NAMES == values(empty_database, "select name from schema_migrations order by version")


def test_twenty_start_at_once(empty_database: str) -> None:
    """Twenty that start at the same moment apply every migration once, and all of them succeed."""
    barrier = Barrier(TOGETHER)

    def run(_: int) -> list[str]:
        with pg.connect(empty_database, name="test") as connection:
            barrier.wait(30)
            return [migration.name for migration in migrate(connection)]

    with ThreadPoolExecutor(TOGETHER) as executor:
        applied = list(executor.map(run, range(TOGETHER)))

    assert NAMES == sorted(name for names in applied for name in names)
    assert [] == values(empty_database, "select pid from pg_locks where locktype = 'advisory'")


def test_failure_leaves_nothing(empty_database: str, tmp_path: Path) -> None:
    """A migration that fails as late as it can is undone; those before it stay, and it can be run again."""
    checkout = Checkout(tmp_path, empty_database)
    # takes the place of the row that is written behind it
    record = (
        "insert into schema_migrations (version, name, sha256) select max(version) + 1, '', '' from schema_migrations"
    )
    broken = checkout.add("half", f"create table half (); {record};")

    code, error = checkout.outcome("migrate")

    assert 1 == code
    assert error.startswith(f"Error: migration {broken.stem} failed: duplicate key value")
    assert [None] == values(empty_database, "select to_regclass('half')::text")
    assert NAMES == values(empty_database, "select name from schema_migrations order by version")

    broken.write_text("create table half ();")
    assert (0, f"applied  {broken.stem}") == checkout.outcome("migrate")
    assert ["half"] == values(empty_database, "select to_regclass('half')::text")


def test_check(checkout: Checkout) -> None:
    """--check changes nothing; it ends with 1 while something is pending, and with 0 after."""
    file = checkout.add("of_today", "create table today ()")

    before = checkout.outcome("migrate", "--check")
    tables = values(checkout.url, "select to_regclass('today')::text")
    checkout.run("migrate")
    after = checkout.outcome("migrate", "--check")

    assert ((1, f"pending  {file.stem}"), [None], (0, "up to date")) == (before, tables, after)


def test_nothing_is_pending(database: str) -> None:
    """Whether something is pending can be asked where nothing may be written."""
    with pg.connect(database, name="test") as connection:
        connection.execute("set default_transaction_read_only to on")

        assert [] == pending(connection)


@pytest.mark.parametrize("ask", [migrate, pending, require_current])
def test_edited_migration(database: str, ask: Callable[[pg.Connection], object]) -> None:
    """Nothing works on a database that was migrated with another text."""
    with pg.connect(database, name="test") as connection:
        connection.execute("update schema_migrations set sha256 = 'another' where version = 2")

        with pytest.raises(MigrationError, match=f"^migration {NAMES[1]} was applied with another text$"):
            ask(connection)


@pytest.mark.parametrize("ask", [migrate, pending, require_current])
def test_newer_database(database: str, ask: Callable[[pg.Connection], object]) -> None:
    """Nothing works on a database that a newer version has used; it is said what to do."""
    message = r"^the database has migration 9999 \(of_tomorrow\), which this version does not know$"
    with pg.connect(database, name="test") as connection:
        connection.execute("insert into schema_migrations (version, name, sha256) values (9999, 'of_tomorrow', '')")

        with pytest.raises(MigrationError, match=message) as caught:
            ask(connection)

    assert "it was used by a newer version; upgrade evothesis" == caught.value.hint


def test_older_database(empty_database: str) -> None:
    """What needs the schema says which migration is missing, and does not make it."""
    with (
        pg.connect(empty_database, name="test") as connection,
        pytest.raises(MigrationError, match=f"^the database lacks {len(NAMES)} migrations, the first is {NAMES[0]}$"),
    ):
        require_current(connection)

    assert [None] == values(empty_database, "select to_regclass('schema_migrations')::text")


@pytest.mark.parametrize("name", ["9999_late.sql", f"{NAMES[0][:4]}_twice.sql", "first.sql"])
def test_misnumbered(checkout: Checkout, name: str) -> None:
    """A gap, a number that is there twice and a name without one are refused before anything is applied."""
    (checkout.path / "migrations" / name).write_text("create table never ()")

    code, error = checkout.outcome("migrate")

    assert 1 == code
    assert "are not numbered 1, 2, 3 …" in error or "is not named like 0001_events.sql" in error
    assert [None] == values(checkout.url, "select to_regclass('never')::text")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_other_encoding(postgres: Postgres, encoding: str) -> None:
    """A database that cannot hold every character, or does not know which it holds, is refused and left empty."""
    name = f"test_encoding_{encoding.lower()}"
    make = f"create database {name} encoding '{encoding}' locale 'C' template template0"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(make.encode())
    url = postgres.url.replace("dbname=postgres", f"dbname={name}")
    with pg.connect(url, name="test") as connection:
        with pytest.raises(MigrationError, match=f"encoding {encoding}"):
            migrate(connection)

        assert [] == connection.execute("select from pg_class where relname = 'schema_migrations'").fetchall()

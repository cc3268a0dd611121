"""Migrations: numbered plain SQL in, a schema at this version out.

Each file runs in one transaction with the row that records it. An advisory lock lets any number of processes start at
once; a database that is newer than the code is refused.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import NamedTuple

import psycopg

from evothesis import pg
from evothesis.errors import MigrationError

log = logging.getLogger(__name__)

LOCK = 0x65766F6D6967  # "evomig": any number that nothing else here locks
NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")

CREATE = """
create table if not exists schema_migrations (
  version integer primary key,
  name text not null,
  sha256 text not null,
  applied_at timestamptz not null default now()
)
"""


class Migration(NamedTuple):
    """One file: its number, its name, its text."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What tells an edited file from the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def find() -> list[Migration]:
    """All migrations in order: from the installed package, else from the checkout beside it."""
    package = Path(__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        files = sorted(folder.glob("*.sql"))
        if files:
            found = []
            for file in files:
                match = NAME.match(file.name)
                if match is None:
                    message = f"{file} is not named like 0001_events.sql"
                    raise MigrationError(message)
                found.append(Migration(int(match[1]), file.stem, file.read_text(encoding="utf-8")))
            if [migration.version for migration in found] != list(range(1, len(found) + 1)):
                message = f"the migrations in {folder} are not numbered 1, 2, 3 …"
                raise MigrationError(message)
            return found
    message = f"no migrations found beside {package}"
    raise MigrationError(message, hint="reinstall the package")


def pending(connection: pg.Connection) -> list[Migration]:
    """The migrations that the database does not have yet.

    Raises MigrationError when the database is newer than this version, or was migrated with another text.
    """
    migrations = find()
    exists = pg.one(connection, "select to_regclass('schema_migrations') is not null as exists")["exists"]
    rows = connection.execute("select version, name, sha256 from schema_migrations").fetchall() if exists else []
    known = {migration.version: migration for migration in migrations}
    for row in rows:
        migration = known.get(row["version"])
        if migration is None:
            message = f"the database has migration {row['version']} ({row['name']}), which this version does not know"
            raise MigrationError(message, hint="it was used by a newer version; upgrade evothesis")
        if migration.sha256 != row["sha256"]:
            message = f"migration {migration.name} was applied with another text"
            raise MigrationError(message, hint="applied migrations are never edited; add a new one")
    applied = {row["version"] for row in rows}
    return [migration for migration in migrations if migration.version not in applied]


def migrate(connection: pg.Connection) -> list[Migration]:
    """Apply what is pending; returns what was applied. Raises MigrationError."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":  # a page may hold any character, and COPY takes our bytes for the encoding's
        message = f"the database has the encoding {encoding}; events need UTF8"
        raise MigrationError(message, hint="make it with `createdb --template=template0 --encoding=UTF8`")
    connection.execute("select pg_advisory_lock(%(lock)s)", {"lock": LOCK})
    try:
        connection.execute(CREATE)
        applied = pending(connection)
        for migration in applied:
            _apply(connection, migration)
            log.info("Migration applied.", extra={"migration": migration.name})
        return applied
    finally:
        if not connection.broken:
            connection.execute("select pg_advisory_unlock(%(lock)s)", {"lock": LOCK})


def require_current(connection: pg.Connection) -> None:
    """Raise MigrationError unless the schema is the one that this version works with."""
    if waiting := pending(connection):
        message = f"the database lacks {len(waiting)} migrations, the first is {waiting[0].name}"
        raise MigrationError(message, hint="run `evothesis migrate`, or start `evothesis serve`")


def _apply(connection: pg.Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(migration.sql)
            connection.execute(
                "insert into schema_migrations (version, name, sha256) values (%(version)s, %(name)s, %(sha256)s)",
                {"version": migration.version, "name": migration.name, "sha256": migration.sha256},
            )
    except psycopg.Error as error:
        if pg.is_transient(error):
            raise
        message = f"migration {migration.name} failed: {error}"
        raise MigrationError(message, hint="nothing of it was kept; correct the cause and run migrate again") from error

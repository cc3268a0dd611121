"""Restore: a backup in, a database that holds it out: the real one, or a scratch one that only proves that it can be.

What was there before a real restore stays, in a schema of its own, until somebody drops it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.conninfo import make_conninfo

from evothesis import migrate, pg
from evothesis.config import Config
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.exporter.store import Store, store
from evothesis.upkeep import archive, content, programs
from evothesis.upkeep.archive import Backup
from evothesis.upkeep.backup import destination, record

log = logging.getLogger(__name__)

ROOM = 1.5  # of the database's present size: indexes are built beside the tables
OPTIONS = ("--schema=public", "--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")

BUSY = """
select application_name as name from pg_stat_activity
 where datname = current_database() and application_name like 'evothesis %%' and pid <> pg_backend_pid() limit 1
"""
HELD = "select coalesce(sum(accepted), 0)::bigint as events from loads"
PLACE = "select setting from pg_settings where name = 'data_directory'"
SIZE = "select pg_database_size(current_database()) as bytes"


class Restored(NamedTuple):
    """What was restored, and what is wrong with it; `kept` is the schema of what was there before."""

    name: str
    is_drill: bool
    rows: dict[str, int]
    problems: list[str]
    kept: str | None = None


class Source(NamedTuple):
    """Where backups are read from: the folder, or a bucket with the private key's file."""

    folder: Path
    bucket: Store | None
    identity: Path | None
    instance: str

    @classmethod
    def of(cls, config: Config, *, from_bucket: bool, identity: Path | None) -> Source:
        """As it is configured. Raises ConfigurationError."""
        target = destination(config) if from_bucket else None
        if from_bucket and target is None:
            message = "backup.bucket is not set: there is no bucket to restore from"
            raise ConfigurationError(message, hint="name an [[export.destination]] in it")
        return cls(config.backup.path, store(target) if target else None, identity, config.instance)

    def names(self) -> list[str]:
        """Every complete backup, the oldest first."""
        return archive.remote(self.bucket, self.instance) if self.bucket else archive.local(self.folder)

    @contextmanager
    def open(self, name: str | None) -> Iterator[tuple[Backup, Path]]:
        """A backup and its dump, the newest if none is named. Raises EvothesisError."""
        if self.bucket and not self.identity:
            message = "backups in a bucket are encrypted"
            raise ConfigurationError(message, hint="name the private key's file with --identity")
        chosen = name or next(reversed(self.names()), None)
        if chosen is None:
            message = f"there is no backup in {'the bucket' if self.bucket else self.folder}"
            raise EvothesisError(message, hint="take one with `evothesis backup`")
        if self.bucket and self.identity:
            with archive.fetched(self.bucket, self.instance, chosen, archive.identity(self.identity)) as found:
                yield found
        else:
            yield archive.opened(self.folder, chosen)


def drill(connection: pg.Connection, url: str, backup: Backup, dump: Path, now: datetime) -> Restored:
    """Restore into a scratch database, compare, drop it, and remember that it went well. Raises EvothesisError."""
    _check_room(connection)
    name = f"evothesis_drill_{now:{archive.NAME_FORMAT}}".lower()
    create = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
    connection.execute(create)
    try:
        programs.run(connection, url, "pg_restore", *OPTIONS, str(dump), database=name)
        with pg.connect(make_conninfo(url, dbname=name), name="drill") as scratch:
            restored = _compared(scratch, backup, is_drill=True)
    finally:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    if not restored.problems:
        record(connection, "restore drill", {"name": backup.name, "rows": restored.rows})
        log.info("Restore drill passed.", extra={"backup": backup.name})
    return restored


def restore(
    connection: pg.Connection, url: str, backup: Backup, dump: Path, now: datetime, *, overwrite: bool
) -> Restored:
    """Make the database what it was. Raises EvothesisError for one in use, or one that holds events."""
    kept = _check_free(connection, overwrite=overwrite)
    if backup.schema > len(migrate.find()):
        message = f"backup {backup.name} is of evothesis {backup.version}, which is newer than this"
        raise EvothesisError(message, hint="upgrade evothesis first")
    _check_room(connection)
    aside = sql.Identifier(f"before_restore_{now:{archive.NAME_FORMAT}}".lower())
    with connection.transaction():
        connection.execute(sql.SQL("alter schema public rename to {}").format(aside))
        connection.execute("create schema public")
    try:
        programs.run(connection, url, "pg_restore", *OPTIONS, str(dump))
        restored = _compared(connection, backup, is_drill=False)
    except EvothesisError:
        with connection.transaction():
            connection.execute("drop schema public cascade")
            connection.execute(sql.SQL("alter schema {} rename to public").format(aside))
        raise
    if not kept:
        connection.execute(sql.SQL("drop schema {} cascade").format(aside))
    record(connection, "restore", {"name": backup.name, "rows": restored.rows, "problems": restored.problems})
    log.info("Database restored.", extra={"backup": backup.name})
    return restored._replace(kept=aside.as_string(connection).strip('"') if kept else None)


def _compared(connection: pg.Connection, backup: Backup, *, is_drill: bool) -> Restored:
    rows = content.rows(connection)
    names = sorted(backup.rows.keys() | rows.keys())
    problems = [
        f"{name} has {rows.get(name, 0):,} rows, and had {backup.rows.get(name, 0):,}"
        for name in names
        if rows.get(name) != backup.rows.get(name)
    ]
    if content.loads_sha256(connection) != backup.loads_sha256:
        problems.append("the loads are not those that were backed up")
    return Restored(backup.name, is_drill, rows, [*problems, *content.problems(connection)])


def _check_free(connection: pg.Connection, *, overwrite: bool) -> bool:
    """Whether there is something to be kept. Raises EvothesisError when it may not be touched."""
    if busy := connection.execute(BUSY).fetchone():
        message = f"the database is in use by `{busy['name']}`"
        raise EvothesisError(message, hint="stop `evothesis serve`, or its services and timers, first")
    has_tables = pg.one(connection, "select to_regclass('public.loads') is not null as yes")["yes"]
    events = pg.one(connection, HELD)["events"] if has_tables else 0
    if events and not overwrite:
        message = f"the database holds {events:,} events"
        hint = "with --overwrite they are put aside, into a schema of their own, and the backup takes their place"
        raise EvothesisError(message, hint=hint)
    return bool(events)


def _check_room(connection: pg.Connection) -> None:
    """Raise EvothesisError where the disk would be filled, as far as this process may know it."""
    place: dict[str, Any] | None = connection.execute(PLACE).fetchone()
    if not place or not connection.info.host.startswith("/") or not os.access(place["setting"], os.F_OK):
        return
    wanted = pg.one(connection, SIZE)["bytes"] * ROOM
    free = shutil.disk_usage(place["setting"]).free
    if free < wanted:
        message = f"a second copy of the database needs {wanted / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB are free"
        raise EvothesisError(message, hint="make room first: a full disk would stop the appliance")

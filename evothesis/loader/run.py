"""Run: the loader's life. Finds what waits, loads it in order, survives what fails, tells what it saw."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from threading import Event

import psycopg

from evothesis import heartbeat, pg
from evothesis.errors import LoadError, UnreachableError
from evothesis.loader.load import load, read
from evothesis.spool.segments import Segment, acknowledge, sealed

log = logging.getLogger(__name__)

LOCK = 0x65766F6C6F61  # "evoloa": any number that nothing else here locks
POLL_SECONDS = 0.02
BEAT_SECONDS = 1.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.1, 5.0
PARTITION_DAYS_AHEAD = 7

# without these a commit may be lost or torn by a crash, and the promise with it
REQUIRED_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


class Loader:
    """One loader; a second one on the same database ends with LoadError."""

    def __init__(self, url: str, spool: Path, stop: Event) -> None:
        """`stop` ends `run` when everything sealed is loaded."""
        self._url = url
        self._spool = spool
        self._stop = stop
        self._beaten_at = float("-inf")
        self._days: set[date] = set()
        self._database_error: str | None = None
        self._spool_error: str | None = None

    def run(self) -> None:
        """Load until told to stop; a lost database is waited for."""
        retry_seconds = RETRY_SECONDS_MIN
        while True:
            try:
                with pg.connect(self._url, name="loader") as connection:
                    self._prepare(connection)
                    self._database_error = None
                    retry_seconds = RETRY_SECONDS_MIN
                    self._work(connection)
                    return
            except (UnreachableError, psycopg.Error) as error:
                if isinstance(error, psycopg.Error) and not pg.is_transient(error):
                    log.exception("Load refused by the database.")
                self._database_error = str(error).partition("\n")[0]
                log.warning("Database lost, trying again.", extra={"reason": self._database_error})
                self._beat(waiting=len(sealed(self._spool)))
                if self._stop.wait(retry_seconds):
                    return
                retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)

    def _prepare(self, connection: pg.Connection) -> None:
        for setting in REQUIRED_SETTINGS:
            value = pg.one(connection, "select current_setting(%(name)s) as value", {"name": setting})["value"]
            if value not in ("on", "remote_apply", "local", "remote_write"):
                message = f"PostgreSQL runs with {setting} = {value}: a crash could lose committed events"
                raise LoadError(message, hint=f"set {setting} = on")
        if not pg.one(connection, "select pg_try_advisory_lock(%(lock)s) as mine", {"lock": LOCK})["mine"]:
            message = "another loader works on this database"
            raise LoadError(message, hint="stop it first; a database has one loader")
        # a segment's keys are looked up one by one in the indexes; the planner must not read whole days instead
        connection.execute("set enable_hashjoin = off")
        connection.execute("set enable_mergejoin = off")
        self._days.clear()

    def _work(self, connection: pg.Connection) -> None:
        while True:
            today = datetime.now(UTC).date()
            for ahead in range(PARTITION_DAYS_AHEAD + 1):
                self._ensure_partitions(connection, today + timedelta(days=ahead))
            waiting = sealed(self._spool)
            self._beat(waiting=len(waiting))
            loaded = self._load_all(connection, waiting)
            if not loaded and self._stop.wait(POLL_SECONDS):
                return

    def _load_all(self, connection: pg.Connection, waiting: list[Segment]) -> int:
        """Load in order within each writer; a writer whose next segment fails waits, the others go on."""
        loaded = 0
        stuck: dict[int, str] = {}
        for segment in _in_turn(waiting):
            if segment.writer in stuck:
                continue
            try:
                self._load(connection, segment)
                loaded += 1
            except LoadError as error:
                stuck[segment.writer] = str(error)
            self._beat(waiting=len(waiting) - loaded)
        reason = next(iter(stuck.values()), None)
        if reason and reason != self._spool_error:
            log.error("Writer waits.", extra={"reason": reason})
        self._spool_error = reason
        return loaded

    def _load(self, connection: pg.Connection, segment: Segment) -> None:
        began = time.monotonic()
        content = read(segment)
        self._ensure_partitions(connection, content.day)
        fresh = load(connection, segment, content)
        fields = {"writer": segment.writer, "segment_no": segment.segment_no}
        if content.damage:
            kept = segment.path.with_suffix(".damaged")
            segment.path.rename(kept)
            log.error("Segment was damaged.", extra=fields | {"stretches": content.damage, "kept": str(kept)})
        else:
            acknowledge(segment)
        milliseconds = round((time.monotonic() - began) * 1000, 1)
        log.info(
            "Segment loaded." if fresh else "Segment was loaded before.",
            extra=fields
            | {
                "rows": len(content.rows),
                "bytes": segment.size_bytes,
                "milliseconds": milliseconds,
            },
        )

    def _ensure_partitions(self, connection: pg.Connection, day: date) -> None:
        if day not in self._days:
            connection.execute("select ensure_partitions(%(day)s)", {"day": day})
            self._days.add(day)

    def _beat(self, *, waiting: int) -> None:
        if time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        self._beaten_at = time.monotonic()
        beat = heartbeat.Heartbeat(time.time(), waiting, self._database_error, self._spool_error)
        try:
            heartbeat.write(self._spool, beat)
        except OSError as error:
            log.warning("Heartbeat not written.", extra={"reason": str(error)})


def _in_turn(segments: list[Segment]) -> Iterator[Segment]:
    """One segment of each writer in turn, so that no writer's backlog holds up the others."""
    by_writer: dict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_writer[segment.writer].append(segment)
    for turn in zip_longest(*by_writer.values()):
        yield from (segment for segment in turn if segment is not None)

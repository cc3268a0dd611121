"""Run: the loader's life. Finds what waits, loads it in order, survives what fails, tells what it saw.

It is the first to need the schema, and brings it up to date.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from threading import Event

import psycopg

from evothesis import heartbeat, pg
from evothesis.config import Spool
from evothesis.errors import ConfigurationError, EvothesisError, LoadError, MigrationError, UnreachableError
from evothesis.loader.budget import Budget
from evothesis.loader.content import Content, read
from evothesis.loader.dedup import forget
from evothesis.loader.keep import Keeper, forgotten
from evothesis.loader.load import load
from evothesis.migrate import migrate, pending
from evothesis.numbers import BOTS, LOAD, LOAD_ROWS, LOADED, Row, place, places
from evothesis.spool.segments import Segment, in_turn, sealed

log = logging.getLogger(__name__)

LOCK = 0x65766F6C6F61  # "evoloa": any number that nothing else here locks
POLL_SECONDS = 0.02
QUIET_POLL_SECONDS, QUIET_AFTER_SECONDS = 0.1, 1.0  # a site at night must not keep a machine awake
BEAT_SECONDS = 1.0
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.1, 3.0
SLOW_SECONDS = 5  # after which it is told that a statement waits
PARTITION_DAYS_AHEAD = 7
STUCK_POLL_SECONDS = 0.25  # while a writer waits for a person: its backlog is listed each time
TIDY_SECONDS = 10.0
FORGET_SECONDS = 3_600.0  # between two days of keys: a clock that was wrong meanwhile does little harm

OUTCOMES = {"stored": "accepted", "duplicate": "duplicate", "rejected": "rejected", "withheld": "withheld"}
NOT_REACHED = "the loader has not reached the database yet"

# without these a commit may be lost or torn by a crash, and the promise with it
REQUIRED_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


class Loader:
    """One loader; a second one on the same database ends with LoadError."""

    def __init__(
        self,
        url: str,
        settings: Spool,
        stop: Event,
        pulse: Callable[[], None],
        *,
        events_max: int = 0,
        start_seconds: float = 0,
    ) -> None:
        """`stop` ends `run` when everything sealed is loaded; `pulse` is called every second or so.

        A site that has more than `events_max` events on a day is told of; 0 is no budget. That a database does not
        answer in the first `start_seconds` is not worth a log line: it starts beside us.
        """
        self._url = url
        self._pulse = pulse
        self.numbers = Row()  # whoever wants to see what is counted puts another one there
        self._spool = settings.path
        self._keeper = Keeper(settings.path, settings.loaded_bytes_max)
        self._stop = stop
        self._budget = Budget(events_max)
        self._tidied_at = self._forgotten_at = self._beaten_at = self._loaded_at = float("-inf")
        self._waiting = 0
        self._days: set[date] = set()
        self._database_error: str | None = NOT_REACHED
        self._said: str | None = None
        self._silent_until = time.monotonic() + start_seconds
        self._spool_error: str | None = None
        self._spool_hint: str | None = None
        self._heartbeat_error: str | None = None

    def run(self) -> None:
        """Load until told to stop; a database that is not there, or not as it should be, is waited for."""
        retry_seconds = RETRY_SECONDS_MIN
        while True:
            self._beat(waiting=len(sealed(self._spool)))
            try:
                with pg.connect(self._url, name="loader") as connection:
                    connection.meanwhile = self._wait
                    self._prepare(connection)
                    log.info("Database connected.")
                    self._silent_until = 0
                    while self._work(connection):
                        self._database_error = self._said = None
                        retry_seconds = RETRY_SECONDS_MIN
                    return
            except (UnreachableError, ConfigurationError, MigrationError, psycopg.Error) as error:
                self._tell(error)
                self._make_room()
                if self._stop.wait(retry_seconds):
                    return
                retry_seconds = min(retry_seconds * 2, RETRY_SECONDS_MAX)

    def _make_room(self) -> None:
        """PostgreSQL does not start on a full disk, and what is kept beside it can go."""
        with suppress(OSError):  # a spool that is not there takes no room
            if self._keeper.bytes_wanted() > 0:
                self._keeper.sweep(None)

    def _tell(self, error: Exception) -> None:
        """Say once what the database's trouble is; it is asked again and again."""
        reason = str(error).partition("\n")[0]
        if reason != self._database_error:
            self._beaten_at = float("-inf")  # news are told at once
        self._database_error = reason
        self._beat(waiting=len(sealed(self._spool)))
        passes = isinstance(error, UnreachableError) or (isinstance(error, psycopg.Error) and pg.is_transient(error))
        if reason == self._said or (passes and time.monotonic() < self._silent_until):
            return
        self._said = reason
        if passes:
            log.warning("Database does not answer, trying again.", extra={"reason": reason})
        else:
            log.error("Database refused, trying again.", extra={"reason": reason} | _hint(error))

    def _wait(self, seconds: float) -> None:
        """Live, while PostgreSQL keeps us waiting."""
        if seconds > SLOW_SECONDS and self._database_error in (None, NOT_REACHED):
            self._database_error = "PostgreSQL keeps the loader waiting, for a lock perhaps"
        self._beat(waiting=self._waiting)

    def _prepare(self, connection: pg.Connection) -> None:
        if pending(connection):
            self._database_error = "the schema is being brought up to date"
            migrate(connection)
        for setting in REQUIRED_SETTINGS:
            value = pg.one(connection, "select current_setting(%(name)s) as value", {"name": setting})["value"]
            if value not in ("on", "remote_apply", "local", "remote_write"):
                message = f"PostgreSQL runs with {setting} = {value}: a crash could lose committed events"
                raise LoadError(message, hint=f"set {setting} = on")
        if not pg.try_lock(connection, LOCK):
            message = "another loader works on this database"
            raise LoadError(message, hint="stop it first; a database has one loader")
        self._days.clear()
        self._budget.begin(connection, _today())
        self._tidied_at = float("-inf")
        self._load_forgotten(connection)

    def _work(self, connection: pg.Connection) -> bool:
        """One turn; False when there is nothing to load and the loader is to stop."""
        trouble: OSError | None = None
        try:
            self._tidy(connection)
        except OSError as error:  # loading needs no more than to read the spool
            trouble = error
        waiting = sealed(self._spool)
        self._beat(waiting=len(waiting))
        loaded = self._load_all(connection, waiting, trouble)
        if loaded:
            self._loaded_at = time.monotonic()
            return True
        pause = POLL_SECONDS
        if self._spool_error:
            pause = STUCK_POLL_SECONDS
        elif time.monotonic() - self._loaded_at > QUIET_AFTER_SECONDS:
            pause = QUIET_POLL_SECONDS
        return not self._stop.wait(pause)

    def _load_forgotten(self, connection: pg.Connection) -> None:
        """After a restore: load again what the database lost, exactly as it was."""
        lost = forgotten(connection, self._spool)
        if lost:
            log.warning("Database is older than the spool, loading again.", extra={"segments": len(lost)})
        for segment in lost:
            try:
                self._load(connection, segment, is_kept=True)
            except (LoadError, OSError) as error:
                # in another order events would change places: what waits behind it waits too
                message = f"cannot load again what the database lost: {error}"
                raise LoadError(message, hint=getattr(error, "hint", None)) from error
            self._beat(waiting=len(lost))

    def _load_all(self, connection: pg.Connection, waiting: list[Segment], trouble: OSError | None) -> int:
        """Load in order within each writer; a writer whose next segment fails waits, the others go on."""
        loaded = 0
        stuck: dict[int, LoadError | OSError] = {}
        for segment in in_turn(waiting):
            if segment.writer in stuck:
                continue
            try:
                self._load(connection, segment)
                loaded += 1
            except (LoadError, OSError) as error:
                stuck[segment.writer] = error
            self._beat(waiting=len(waiting) - loaded)
        self._say_spool_error(next(iter(stuck.values()), trouble))
        return loaded

    def _say_spool_error(self, error: LoadError | OSError | None) -> None:
        reason = str(error) if error else None
        if reason and reason != self._spool_error:
            log.error("Writer waits.", extra={"reason": reason, **_hint(error)})
        self._spool_error, self._spool_hint = reason, _hint(error).get("hint")

    def _load(self, connection: pg.Connection, segment: Segment, *, is_kept: bool = False) -> None:
        began = time.monotonic()
        content = read(segment)
        self._ensure_partitions(connection, content.day)
        fresh = _load(connection, segment, content)
        fields = {"writer": segment.writer, "segment_no": segment.segment_no}
        if content.damage:
            log.error("Segment was damaged.", extra=fields | {"stretches": content.damage})
        if not is_kept:
            self._keeper.put(segment, content.first, is_damaged=bool(content.damage))
        if fresh:
            self.numbers.add(place(BOTS), fresh["bots"])
            for outcome, field in OUTCOMES.items():
                self.numbers.add(place(LOADED, outcome), fresh[field])
            self._budget.add(connection, segment, content.day)
        seconds = time.monotonic() - began
        self.numbers.observe(places(LOAD), seconds)
        self.numbers.observe(places(LOAD_ROWS), len(content.rows))
        log.info(
            "Segment loaded." if fresh else "Segment was loaded before.",
            extra=fields
            | {
                "rows": len(content.rows),
                "bytes": segment.size_bytes,
                "milliseconds": round(seconds * 1000, 1),
            },
        )

    def _tidy(self, connection: pg.Connection) -> None:
        """What a day asks for: partitions ahead, room in the spool, no keys older than a retry can be."""
        if time.monotonic() - self._tidied_at < TIDY_SECONDS:
            if self._keeper.bytes_wanted() > 0:
                self._keeper.sweep(connection)
            return
        self._tidied_at = time.monotonic()
        today = _today()
        for ahead in range(PARTITION_DAYS_AHEAD + 1):
            self._ensure_partitions(connection, today + timedelta(days=ahead))
        self._keeper.sweep(connection)
        if time.monotonic() - self._forgotten_at >= FORGET_SECONDS:
            self._forgotten_at = time.monotonic()
            forget(connection, today)

    def _ensure_partitions(self, connection: pg.Connection, day: date) -> None:
        if day not in self._days:
            connection.execute("select ensure_partitions(%(day)s)", {"day": day})
            self._days.add(day)

    def _beat(self, *, waiting: int) -> None:
        self._waiting = waiting
        if time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        self._beaten_at = time.monotonic()
        self._pulse()
        over = self._budget.over(_today())
        beat = heartbeat.Heartbeat(
            time.time(), waiting, self._database_error, self._spool_error, over, self._spool_hint
        )
        error = None
        try:
            heartbeat.write(self._spool, beat)
        except OSError as reason:
            error = str(reason)
        if error and error != self._heartbeat_error:
            log.warning("Heartbeat not written.", extra={"reason": error})
        self._heartbeat_error = error


def _hint(error: Exception | None) -> dict[str, str]:
    return {"hint": error.hint} if isinstance(error, EvothesisError) and error.hint else {}


def _load(connection: pg.Connection, segment: Segment, content: Content) -> dict[str, int] | None:
    try:
        return load(connection, segment, content)
    except ValueError:  # a key that is no UUID
        pass
    except psycopg.Error as error:
        if not pg.is_poison(error):
            raise
    try:
        return load(connection, segment, content, careful=True)
    except psycopg.Error as error:
        if not pg.is_poison(error):
            raise
        # not in a row's columns but in what is counted or remembered of it: a collector of ours must have erred
        message = f"segment {segment.segment_no} of writer {segment.writer} cannot be stored: {error}"
        raise LoadError(message, hint="keep the file; report it") from error


def _today() -> date:
    return datetime.now(UTC).date()

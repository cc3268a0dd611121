"""Group commit: entries of many requests in, one write and one sync for all that wait.

While a sync runs in its thread the event loop goes on; what arrives meanwhile goes into the next one. A segment is
sealed when it is large, when its first entry is SEAL_AFTER_SECONDS old, and before an entry of another UTC hour. While
many segments wait in vain they are sealed later: a database that is away for days must not leave millions of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from evothesis.config import Spool
from evothesis.errors import SpoolBrokenError, SpoolError, SpoolFullError
from evothesis.numbers import ACKNOWLEDGED, GROUP, WRITTEN, Row, places
from evothesis.spool.segments import backlog
from evothesis.spool.writer import Writer

log = logging.getLogger(__name__)

SEAL_AFTER_SECONDS = 0.25  # with the load behind it, an event is in the table within a second
SEGMENTS_AT_EASE = 16  # waiting ones, two seconds of two collectors; of more, each is as much later as there are more
SEGMENT_BYTES_MAX = 8 * 2**20  # one load; a larger one makes a replay after a crash repeat too much
BUDGET_CHECK_SECONDS = 1.0
FAILURE_SECONDS = 5.0  # for which a failed write is told, unless one succeeds
WARN_SHARE = 0.7  # of the spool's budget
RETRY_SECONDS = 1.0  # between two attempts to seal on a disk that has no room

_ACKNOWLEDGED, _GROUP, _WRITTEN = places(ACKNOWLEDGED), places(GROUP), places(WRITTEN)


class _Waiting(NamedTuple):
    payload: bytes
    rows: int
    hour: datetime
    since: float  # monotonic
    durable: asyncio.Future[None]


class Committer:
    """The spool of one collector process.

    `refusal` is why no event can be taken now, or None; `broken` is set when the disk failed and the process must end.
    """

    def __init__(self, settings: Spool, numbers: Row | None = None) -> None:
        """Nothing is opened before `run`."""
        self.numbers = numbers or Row()
        self.broken = asyncio.Event()
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._arrived = asyncio.Event()
        self._waiting: list[_Waiting] = []
        self._writer: Writer | None = None
        self._hour: datetime | None = None
        self._seal_at = float("inf")
        self._seal_after_seconds = SEAL_AFTER_SECONDS
        self.refusal: SpoolError | None = SpoolFullError("the spool is not open yet")
        self._checked_at = float("-inf")
        self._closing = False
        self._warned = False
        self._reason: str | None = None
        self._failed_at: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why no event can be taken, as far as it is known: nothing tells that a disk has room again but a request."""
        if self.refusal:
            return str(self.refusal)
        has_failed = self._failed_at is not None and time.monotonic() - self._failed_at < FAILURE_SECONDS
        return self._reason if has_failed else None

    async def open(self) -> None:
        """Claim a folder of the spool and recover it; when there is no room, `run` goes on trying."""
        await self._check(time.monotonic())

    def append(self, payload: bytes, rows: int, received_at: datetime) -> asyncio.Future[None]:
        """Done when the entry is on disk. Raises SpoolError, now or then, when it is not: the sender must try again."""
        if self.refusal:
            # a new one: each raise would add its traceback, and the request that it holds, to the same object
            raise type(self.refusal)(str(self.refusal))
        durable = asyncio.get_running_loop().create_future()
        hour = received_at.replace(minute=0, second=0, microsecond=0)
        self._waiting.append(_Waiting(payload, rows, hour, time.monotonic(), durable))
        self._arrived.set()
        return durable

    async def run(self) -> None:
        """Write until `close` was called and nothing waits, then seal; or until the disk failed."""
        while not self.broken.is_set() and (self._waiting or not self._closing):
            now = time.monotonic()
            await self._check(now)
            timeout = min(self._seal_at - now, BUDGET_CHECK_SECONDS)
            if not self._waiting and timeout > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), timeout)
            self._arrived.clear()
            if self._waiting:
                await self._write()
            if self._is_due() and not self.broken.is_set() and await self._do(self._seal):
                self._postpone_seal()
        if self.broken.is_set():
            await self._write()  # which tells all who wait
        elif self._writer:
            await self._do(self._writer.close)
        self._thread.shutdown()

    def close(self) -> None:
        """Let `run` end. No `append` may follow."""
        self._closing = True
        self._arrived.set()

    def _is_due(self) -> bool:
        large = self._writer is not None and self._writer.segment_bytes >= SEGMENT_BYTES_MAX
        return large or time.monotonic() >= self._seal_at

    def _postpone_seal(self) -> None:
        self._seal_at = time.monotonic() + RETRY_SECONDS

    async def _write(self) -> None:
        batch, self._waiting = self._waiting, []
        for hour in dict.fromkeys(entry.hour for entry in batch):
            entries = [entry for entry in batch if entry.hour == hour]
            error = self.refusal or await self._do(lambda: self._append(hour, entries))  # noqa: B023 - awaited here
            now = time.monotonic()
            if error:
                self._failed_at = now
            else:
                self.numbers.observe(_GROUP, len(entries))
            for entry in entries:
                if not error:
                    self.numbers.observe(_ACKNOWLEDGED, now - entry.since)
                if entry.durable.cancelled():
                    continue
                if error:
                    entry.durable.set_exception(error)
                else:
                    entry.durable.set_result(None)

    def _append(self, hour: datetime, entries: list[_Waiting]) -> None:
        assert self._writer is not None  # noqa: S101 - no append is taken before the writer is open
        if self._hour not in (None, hour):
            self._seal()
        began = time.monotonic()
        self._writer.append([(entry.payload, entry.rows) for entry in entries])
        self.numbers.observe(_WRITTEN, time.monotonic() - began)
        self._reason = self._failed_at = None
        self._hour = hour
        self._seal_at = min(self._seal_at, time.monotonic() + self._seal_after_seconds)

    def _seal(self) -> None:
        assert self._writer is not None  # noqa: S101 - as above
        self._writer.seal()
        self._hour, self._seal_at = None, float("inf")

    async def _check(self, now: float) -> None:
        """Refuse while the spool has no room: on the disk, or within its budget."""
        if now - self._checked_at < BUDGET_CHECK_SECONDS or self.broken.is_set():
            return
        self._checked_at = now
        self.refusal = await self._do(self._look)

    def _look(self) -> None:
        if self._writer is None:
            self._writer = Writer.claim(self._settings.path)
        waiting = backlog(self._settings.path)
        self._seal_after_seconds = SEAL_AFTER_SECONDS * max(1, waiting.segments / SEGMENTS_AT_EASE)
        if self._hour:  # what is open was to be sealed later than it need be now
            self._seal_at = min(self._seal_at, time.monotonic() + self._seal_after_seconds)
        hours = (time.time() - waiting.waiting_since) / 3600 if waiting.waiting_since else 0
        self._warn(max(waiting.size_bytes / self._settings.bytes_max, hours / self._settings.age_hours_max))
        if waiting.size_bytes > self._settings.bytes_max:
            message = f"the spool holds more than spool.bytes_max ({self._settings.bytes_max} bytes)"
            raise SpoolFullError(message)
        if hours > self._settings.age_hours_max:
            message = f"events wait longer than spool.age_hours_max ({self._settings.age_hours_max} h)"
            raise SpoolFullError(message)

    def _warn(self, share: float) -> None:
        """Say it once when the spool's budget of bytes or hours is mostly spent, and once when it is not any more."""
        if (share > WARN_SHARE) != self._warned:
            self._warned = not self._warned
            message = "Spool is filling up: is the loader running?" if self._warned else "Spool is draining."
            log.warning(message, extra={"percent_of_budget": round(share * 100)})

    async def _do(self, step: Callable[[], None]) -> SpoolError | None:
        """Run a step in the spool's thread; returns its error, for the requests that wait for it."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, step)
        except SpoolBrokenError as error:
            log.exception("Spool failed.")
            self.refusal = error
            self.broken.set()
            return error
        except (SpoolFullError, OSError) as error:
            if str(error) != self._reason:  # once: it is asked every second, and by every request
                self._reason = str(error)
                log.warning("Spool refused.", extra={"reason": self._reason})
            return error if isinstance(error, SpoolFullError) else SpoolFullError(str(error))
        return None

"""Aside: work that may take long in, its result out, while the event loop goes on.

One thread: a second one would run no faster, as both share the interpreter's lock, and would keep the loop waiting for
it twice. After every step that work goes on which has had the least time, so that nobody waits behind others' large
bodies; when too much waits, that which has had the most is given up.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Generator
from contextlib import suppress
from queue import PriorityQueue
from threading import Thread
from typing import Any, TypeVar

from evothesis.collector.decode import EnvelopeError

WAITING_MAX = 256
WAITING_BYTES_MAX = 32 * 2**20
SWITCH_SECONDS = 0.001  # after which a thread lets go of the lock; the loop may wait that long whenever it goes round
PATIENCE_SECONDS = 0.1  # of its own time, which all work is granted

T = TypeVar("T")


class _Job:
    """Work in steps: what it has cost, and who waits for it."""

    def __init__(self, number: int, steps: Generator[None, None, Any], done: asyncio.Future[Any], size: int) -> None:
        self.seconds = 0.0
        self.number = number  # of two that have had the same time the earlier one goes on
        self.steps = steps
        self.done = done
        self.size_bytes = size

    def __lt__(self, other: _Job) -> bool:
        return (self.seconds, self.number) < (other.seconds, other.number)


class Aside:
    """The thread beside one event loop. It ends with the process, whatever it is doing."""

    def __init__(self) -> None:
        """Start it."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._queue: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = itertools.count()
        self._jobs: set[_Job] = set()  # the loop's own list
        self._size_bytes = 0
        Thread(target=self._work, name="aside", daemon=True).start()

    def do(self, steps: Generator[None, None, T], *, size_bytes: int) -> asyncio.Future[T]:
        """Have it done; `size_bytes` is what it keeps in memory. Ends with EnvelopeError when too much waits."""
        job = _Job(next(self._numbers), steps, self._loop.create_future(), size_bytes)
        self._jobs.add(job)
        self._size_bytes += size_bytes
        while len(self._jobs) > WAITING_MAX or self._size_bytes > WAITING_BYTES_MAX:
            longest = max(self._jobs)
            busy = EnvelopeError(503, "too_busy", "more is waiting than can be handled soon")
            self._settle(longest if longest.seconds > PATIENCE_SECONDS else job, None, busy)
        self._queue.put(job)
        return job.done

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            began = time.thread_time()
            try:
                if not job.done.done():
                    next(job.steps)
            except StopIteration as end:
                self._tell(job, end.value, None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
                self._tell(job, None, error)
            else:
                job.seconds += time.thread_time() - began
                if not job.done.done():
                    self._queue.put(job)
            del job  # or it would live until the next one comes

    def _tell(self, job: _Job, result: object, error: Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._settle, job, result, error)

    def _settle(self, job: _Job, result: object, error: Exception | None) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
            self._size_bytes -= job.size_bytes
        if job.done.done():
            return
        if error:
            job.done.set_exception(error)
        else:
            job.done.set_result(result)

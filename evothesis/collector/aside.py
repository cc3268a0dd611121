"""Aside: work that may take long in, its result out, while the event loop goes on.

One thread: a second one would run no faster, as both share the interpreter's lock, and would keep the loop waiting for
it twice. It does not rely on getting that lock from each other: who lets go of it for a moment only, as every match of
a pattern does, has it back before the other one is awake, again and again. So the thread stands still after a little
work until the loop has gone round.

After every turn that work goes on which has had the least time, so that nobody waits behind others' large bodies; when
too much waits, that which has had the most is given up.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable
from queue import PriorityQueue
from threading import Event, Thread
from typing import Any, TypeVar

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.steps import Steps

WAITING_MAX = 256
WAITING_BYTES_MAX = 32 * 2**20
SWITCH_SECONDS = 0.001  # after which a thread lets go of the lock; the loop may wait that long whenever it goes round
TURN_SECONDS = 0.002  # of its own time, after which the loop goes round; with what one step takes beyond
PATIENCE_SECONDS = 0.1  # of its own time, which all work is granted

T = TypeVar("T")


class _Job:
    """Work in steps: what it has cost, and who waits for it."""

    def __init__(self, number: int, steps: Steps[Any], done: asyncio.Future[Any], size: int) -> None:
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
        self._is_round = Event()
        Thread(target=self._work, name="aside", daemon=True).start()

    def do(self, steps: Steps[T], *, size_bytes: int) -> asyncio.Future[T]:
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
        began = time.thread_time()
        while True:
            self._go_on(self._queue.get(), began)
            if time.thread_time() - began >= TURN_SECONDS:
                self._let_loop_go_round()
                began = time.thread_time()

    def _go_on(self, job: _Job, began: float) -> None:
        """With what is left of a turn that began then; `began` is in the thread's own time."""
        job_began = time.thread_time()
        try:
            while not job.done.done():
                next(job.steps)
                if time.thread_time() - began >= TURN_SECONDS:
                    job.seconds += time.thread_time() - job_began
                    self._queue.put(job)
                    return
        except StopIteration as end:
            self._tell(self._settle, job, end.value, None)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to whoever waits
            self._tell(self._settle, job, None, error)

    def _let_loop_go_round(self) -> None:
        self._is_round.clear()
        if self._tell(self._is_round.set):
            self._is_round.wait()

    def _tell(self, callback: Callable[..., object], *arguments: object) -> bool:
        """Whether the loop will hear of it: when it has ended nobody waits."""
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            return False
        return True

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

"""Listener: an aiohttp application in, a process that serves it until SIGTERM out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvloop
from aiohttp import web

from evothesis.numbers import LOOP_LAG, Row, places

BACKLOG = 1024
PULSE_SECONDS = 1.0
SHUTDOWN_SECONDS = 5  # for requests that are under way
HEADER_BYTES_MAX = 8190
PROTOCOL: dict[str, Any] = {  # what an aiohttp.web.RequestHandler is made with
    "access_log": None,
    "auto_decompress": False,  # the collector inflates under a limit
    "lingering_time": 0,  # what a refused sender still has to say is not read
    "max_line_size": HEADER_BYTES_MAX,
    "max_field_size": HEADER_BYTES_MAX,
}


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` in an event loop of its own; its argument is set by SIGTERM."""

    async def until_told() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await main(stopped)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())


def serve(application: web.Application, host: str, port: int, pulse: Callable[[], None]) -> None:
    """Serve an application on one socket until SIGTERM."""

    async def main(stopped: asyncio.Event) -> None:
        runner = await listen(application, host, port)
        await pulse_until(stopped, pulse)
        await runner.cleanup()

    run(main)


async def pulse_until(stopped: asyncio.Event, pulse: Callable[[], None]) -> None:
    """Say every second that this loop goes round."""
    while not stopped.is_set():
        pulse()
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), PULSE_SECONDS)


def timed(pulse: Callable[[], None], numbers: Row) -> Callable[[], None]:
    """A pulse that counts how late it is, for by as much everything else in this loop waits, and shows the numbers."""
    due_at = float("inf")  # how long it takes to begin is no lag
    lag = places(LOOP_LAG)

    def beat() -> None:
        nonlocal due_at
        now = time.monotonic()
        numbers.observe(lag, max(0, now - due_at))
        numbers.publish()
        due_at = now + PULSE_SECONDS
        pulse()

    return beat


async def listen(application: web.Application, host: str, port: int) -> web.AppRunner:
    """Begin to serve on one socket."""
    runner = await prepare(application)
    await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    return runner


async def prepare(application: web.Application) -> web.AppRunner:
    """All but the socket."""
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS, **PROTOCOL)
    await runner.setup()
    return runner

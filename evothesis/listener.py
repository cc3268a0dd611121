"""Listener: an aiohttp application in, a process that serves it until SIGTERM out.

The socket may be systemd's, which holds it while we restart, so that connections wait instead of being refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import uvloop
from aiohttp import web

from evothesis.config import Server
from evothesis.errors import ConfigurationError
from evothesis.numbers import LOOP_LAG, Row, places

BACKLOG = 1024
HANDSHAKE_SECONDS_MAX = 10.0  # as long as a whole request may take
FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
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


def inherited() -> dict[str, socket.socket]:
    """The listening sockets that systemd opened for this process, by FileDescriptorName= (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {name: socket.socket(fileno=FIRST_DESCRIPTOR + number) for number, name in enumerate(names)}
    for listening in found.values():
        listening.settimeout(0)
        listening.set_inheritable(False)  # children that we fork have it all the same, programs that we start do not
    return found


def tls(settings: Server) -> ssl.SSLContext | None:
    """What HTTPS is spoken with, None for HTTP. Raises ConfigurationError."""
    if not settings.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)  # TLS 1.2 and newer, as OpenSSL now thinks best
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        message = f"server.tls_cert and tls_key cannot be used: {error.strerror or error}"
        hint = f"is {settings.tls_key} the key of {settings.tls_cert}, and may this user read both?"
        raise ConfigurationError(message, hint=hint) from error
    return context


def serve(
    application: web.Application,
    host: str,
    port: int,
    pulse: Callable[[], None],
    *,
    listening: socket.socket | None = None,
) -> None:
    """Serve an application until SIGTERM, on one socket: the one that is `listening` already, or a new one."""

    async def main(stopped: asyncio.Event) -> None:
        runner = await prepare(application)
        site = (
            web.SockSite(runner, listening, backlog=BACKLOG)
            if listening
            else web.TCPSite(runner, host, port, backlog=BACKLOG)
        )
        await site.start()
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


async def prepare(application: web.Application) -> web.AppRunner:
    """All but the socket."""
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS, **PROTOCOL)
    await runner.setup()
    return runner

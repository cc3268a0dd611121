"""Serve: the configuration in, a running appliance out.

Names the processes and the order in which they end: collectors, so that nothing new comes in; the loader, when it has
stored what they sealed; those who only read; PostgreSQL, after its clients.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from evothesis import pg
from evothesis.admin.http import admin_application
from evothesis.appliance.postgres import Postgres
from evothesis.collector.commit import Committer
from evothesis.collector.http import Collector
from evothesis.config import Admin, Config
from evothesis.demo import demo_application
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.loader.run import Loader
from evothesis.migrate import migrate
from evothesis.supervisor import Program, Ready, Supervisor

log = logging.getLogger(__name__)

DEMO_EXPORT_SECONDS = 300
BACKLOG = 1024
SHUTDOWN_SECONDS = 5  # for requests that are under way
HEADER_BYTES_MAX = 8190


def serve(config: Config, *, role: str, demo: bool, demo_port: int, config_path: Path | None) -> None:
    """Run until SIGTERM or SIGINT. `role` is "all", "collector" or "loader"."""
    server: Postgres | None = None
    url = config.database.url
    if config.database.is_embedded and role != "collector":
        server = Postgres(config.database.path)
        if not server.acquire():
            message = f"another process runs the PostgreSQL in {config.database.path}"
            raise EvothesisError(message, hint="is `evothesis serve` running already?")
        url = server.url
    if demo and not config.admin.token:
        admin = msgspec.structs.replace(config.admin, token=secrets.token_urlsafe(24))
        config = msgspec.structs.replace(config, admin=admin)
    for host, port in _listeners(config, role, demo=demo, demo_port=demo_port):
        _check_free(host, port)
    try:
        if server:
            server.start()
        if role != "collector":
            with pg.connect(url, name="migrate") as connection:
                migrate(connection)
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody counts references in them
        exporter = _Periodic([sys.executable, "-m", "evothesis", "export"], config_path) if demo else None

        def tend() -> None:
            if server and not server.is_alive():
                log.warning("PostgreSQL ended, starting it again.")
                server.start()
            if exporter:
                exporter.tend()

        groups = _programs(config, url, role, demo_port if demo else None)
        in_child = server.release_in_child if server else lambda: None
        supervisor = Supervisor(groups, tend=tend, in_child=in_child)
        supervisor.run(lambda: _announce(config, role, demo_port if demo else None))
        if exporter:
            exporter.stop()
    finally:
        if server:
            server.stop()


def _programs(config: Config, url: str, role: str, demo_port: int | None) -> list[list[Program]]:
    salt = secrets.token_bytes(16)
    processes = config.server.processes or len(os.sched_getaffinity(0))
    collectors = [
        Program(f"collector {number}", lambda ready: _collect(config, salt, ready)) for number in range(processes)
    ]
    loaders = [Program("loader", lambda ready: _load(config, url, ready))]
    readers = [Program("admin", lambda ready: _listen_admin(config, url, ready))]
    if demo_port:
        readers.append(Program("demo", lambda ready: _listen_demo(config, url, demo_port, ready)))
    return {"all": [collectors, loaders, readers], "collector": [collectors], "loader": [loaders, readers]}[role]


def _collect(config: Config, salt: bytes, ready: Ready) -> None:
    async def main(stopped: asyncio.Event) -> None:
        committer = Committer(config.spool)
        await committer.open()
        writing = asyncio.create_task(committer.run())
        broken = asyncio.create_task(committer.broken.wait())
        stopping = asyncio.create_task(stopped.wait())
        application = Collector(config, committer, salt=salt).application()
        runner = await _listen(application, config.server.host, config.server.port, shared=True)
        ready()
        await asyncio.wait([broken, stopping, writing], return_when=asyncio.FIRST_COMPLETED)
        await runner.cleanup()
        if committer.broken.is_set():
            message = "the spool cannot be written"
            raise EvothesisError(message)
        committer.close()
        await writing

    _run(main)


def _load(config: Config, url: str, ready: Ready) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config.spool.path.mkdir(parents=True, exist_ok=True, mode=0o750)
    ready()
    Loader(url, config.spool.path, stop).run()


def _listen_admin(config: Config, url: str, ready: Ready) -> None:
    _run(lambda stopped: _serve_until(admin_application(config, url), config.admin.host, config.admin.port, ready, stopped))


def _listen_demo(config: Config, url: str, port: int, ready: Ready) -> None:
    collector = f"http://{_reachable(config.server.host)}:{config.server.port}"
    application = demo_application(url, collector)
    _run(lambda stopped: _serve_until(application, "127.0.0.1", port, ready, stopped))


async def _serve_until(application: web.Application, host: str, port: int, ready: Ready, stopped: asyncio.Event) -> None:
    runner = await _listen(application, host, port)
    ready()
    await stopped.wait()
    await runner.cleanup()


async def _listen(application: web.Application, host: str, port: int, *, shared: bool = False) -> web.AppRunner:
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        auto_decompress=False,  # the collector inflates under a limit
        lingering_time=0,  # what a refused sender still has to say is not read
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    # one socket per collector: the kernel spreads connections over them
    await web.TCPSite(runner, host, port, reuse_port=shared or None, backlog=BACKLOG).start()
    return runner


def _run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    async def until_told() -> None:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await main(stopped)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_told())


class _Periodic:
    """Runs a command now and then, one at a time: the demo's stand-in for a timer."""

    def __init__(self, command: list[str], config_path: Path | None) -> None:
        """The first run is one interval away."""
        self._command = [*command, *(["--config", str(config_path)] if config_path else [])]
        self._due_at = time.monotonic() + DEMO_EXPORT_SECONDS
        self._process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        if time.monotonic() >= self._due_at and (self._process is None or self._process.poll() is not None):
            self._due_at = time.monotonic() + DEMO_EXPORT_SECONDS
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def _listeners(config: Config, role: str, *, demo: bool, demo_port: int) -> list[tuple[str, int]]:
    public = [(config.server.host, config.server.port)] if role != "loader" else []
    operator = [(config.admin.host, config.admin.port)] if role != "collector" else []
    return [*public, *operator, *([("127.0.0.1", demo_port)] if demo else [])]


def _check_free(host: str, port: int) -> None:
    """Say at once what is wrong, instead of letting children fail again and again."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            message = f"cannot listen on {host}:{port}: {error.strerror}"
            raise ConfigurationError(message, hint="is it running already? else choose another port") from error


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - read, not bound


def _announce(config: Config, role: str, demo_port: int | None) -> None:
    public = f"http://{_reachable(config.server.host)}:{config.server.port}"
    log.info("Evothesis serves.", extra={"role": role, "collect": public + config.server.collect_path})
    if demo_port is None:
        return
    operator = f"http://{_reachable(config.admin.host)}:{config.admin.port}"
    print(  # noqa: T201 - the demo's welcome is for the person who started it
        f"""
  Demo site    http://127.0.0.1:{demo_port}/          visit it, click about
  Collector    {public}{config.server.collect_path}
  Events       curl -H 'Authorization: Bearer {config.admin.token}' {operator}/events/recent
  Deliver      evothesis export                 writes Parquet into {config.export.destination[0].url}
  Bill         evothesis usage
  Stop         Ctrl-C
""",
        flush=True,
    )

"""Serve: the configuration in, a running appliance out.

All processes start at once: collectors take events whatever the database does, the others wait for it. They end in
order: collectors, so that nothing new comes in; the loader, when it has stored what they sealed, and those who only
read; PostgreSQL, after its clients.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from evothesis import heartbeat, listener, pg
from evothesis.admin.http import admin_application
from evothesis.appliance.postgres import Postgres
from evothesis.collector.commit import Committer
from evothesis.collector.reception import Shared
from evothesis.collector.script import tracker
from evothesis.collector.server import Server
from evothesis.collector.stranger import check_parser
from evothesis.config import Config
from evothesis.demo import demo_application
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.loader.run import Loader
from evothesis.supervisor import Program, Pulse, Supervisor

log = logging.getLogger(__name__)

DEMO_EXPORT_SECONDS = 300
START_SECONDS = 10  # in which an embedded PostgreSQL has usually started
STOP_SECONDS_MAX = 9  # systemd and people expect that all of it ends within ten


class Scope(NamedTuple):
    """What is served: the role ("all", "collector" or "loader"), and the demo site's port, if it has one."""

    role: str
    demo_port: int | None = None

    @property
    def has_collector(self) -> bool:
        """Whether events are taken."""
        return self.role != "loader"

    @property
    def has_loader(self) -> bool:
        """Whether events are stored, which needs the database."""
        return self.role != "collector"


def serve(config: Config, scope: Scope, *, config_path: Path | None) -> None:
    """Run until SIGTERM or SIGINT.

    Raises EvothesisError for what is known to be wrong before anything runs. What only the database knows, a wrong
    password, say, is the loader's to tell: that is no reason to refuse events.
    """
    if scope.demo_port and not config.admin.token:
        admin = msgspec.structs.replace(config.admin, token=secrets.token_urlsafe(24))
        config = msgspec.structs.replace(config, admin=admin)
    check_parser()
    _check_free(_listeners(config, scope))
    shared = Shared.begin(config, _today()) if scope.has_collector else None
    server = _acquire(config) if config.database.is_embedded and scope.has_loader else None
    url = server.url if server else config.database.url
    if scope.has_loader:
        pg.check(url)
    exporter = _Periodic(config_path) if scope.demo_port else None
    announcement = _Announcement(config, scope)
    tended: list[Callable[[], object]] = [part.tend for part in (server, exporter, announcement) if part]
    if shared:
        tended.append(lambda: shared.day_key.of(_today()))
    supervisor = Supervisor(
        _programs(config, url, scope, shared),
        tend=lambda: [tend() for tend in tended],
        in_child=server.release_in_child if server else lambda: None,
    )
    try:
        if server:
            server.begin()
        if scope.has_collector:
            with suppress(OSError):  # no process to be had: a collector tries again, and is tried again itself
                tracker()
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody counts references in them
        supervisor.run(announcement.begin)
    finally:
        if exporter:
            exporter.stop()
        if server:
            server.stop(max(1, STOP_SECONDS_MAX - max(0, time.monotonic() - supervisor.stopping_at)))


def _acquire(config: Config) -> Postgres:
    server = Postgres(config.database.path)
    if not server.acquire():
        message = f"another process runs the PostgreSQL in {config.database.path}"
        raise EvothesisError(message, hint="is `evothesis serve` running already?")
    return server


def _today() -> date:
    return datetime.now(UTC).date()


def _programs(config: Config, url: str, scope: Scope, shared: Shared | None) -> list[list[Program]]:
    def keyless(name: str, main: Callable[[Pulse], None]) -> Program:
        """One that has no use for what hides addresses."""

        def forgetful(pulse: Pulse) -> None:
            if shared:
                shared.day_key.forget()
            main(pulse)

        return Program(name, forgetful)

    processes = config.server.processes or len(os.sched_getaffinity(0))
    groups = []
    if shared:
        groups.append(
            [
                Program(f"collector {number}", lambda pulse: _collect(config, shared, pulse))
                for number in range(processes)
            ]
        )
    if scope.has_loader:
        loader = keyless("loader", lambda pulse: _load(config, url, pulse))
        groups.append([loader, keyless("admin", lambda pulse: _administer(config, url, pulse))])
    if scope.demo_port:
        groups[-1].append(keyless("demo", lambda pulse: _demonstrate(config, url, scope.demo_port or 0, pulse)))
    return groups


def _collect(config: Config, shared: Shared, pulse: Pulse) -> None:
    def tend() -> None:
        shared.day_key.of(_today())  # the key of yesterday goes, also when nobody comes
        pulse()

    async def main(stopped: asyncio.Event) -> None:
        committer = Committer(config.spool)
        await committer.open()
        writing = asyncio.create_task(committer.run())
        broken = asyncio.create_task(committer.broken.wait())
        server = await Server.open(config, committer, shared)
        serving = asyncio.create_task(listener.pulse_until(stopped, tend))
        await asyncio.wait([broken, serving, writing], return_when=asyncio.FIRST_COMPLETED)
        await server.close()
        if committer.broken.is_set():
            message = "the spool cannot be written"
            raise EvothesisError(message)
        committer.close()
        await writing

    listener.run(main)


def _load(config: Config, url: str, pulse: Pulse) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config.spool.path.mkdir(parents=True, exist_ok=True, mode=0o750)
    start_seconds = START_SECONDS if config.database.is_embedded else 0
    events_max = config.limits.events_per_site_and_day
    Loader(url, config.spool, stop, pulse, events_max=events_max, start_seconds=start_seconds).run()


def _administer(config: Config, url: str, pulse: Pulse) -> None:
    listener.serve(admin_application(config, url), config.admin.host, config.admin.port, pulse)


def _demonstrate(config: Config, url: str, port: int, pulse: Pulse) -> None:
    collector = f"http://{_reachable(config.server.host)}:{config.server.port}"
    listener.serve(demo_application(url, collector=collector, port=port), "127.0.0.1", port, pulse)


class _Periodic:
    """Runs `evothesis export` now and then, one at a time: the demo's stand-in for a timer."""

    def __init__(self, config_path: Path | None) -> None:
        """The first run is one interval away."""
        self._command = [sys.executable, "-m", "evothesis", "export"]
        self._command += ["--config", str(config_path)] if config_path else []
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


def _listeners(config: Config, scope: Scope) -> list[tuple[str, int]]:
    listeners = []
    if scope.has_collector:
        listeners.append((config.server.host, config.server.port))
    if scope.has_loader:
        listeners.append((config.admin.host, config.admin.port))
    if scope.demo_port:
        listeners.append(("127.0.0.1", scope.demo_port))
    return listeners


def _check_free(listeners: list[tuple[str, int]]) -> None:
    """Say at once what is wrong, instead of letting children fail again and again."""
    with ExitStack() as probes:  # all at once: two settings may name the same port
        for host, port in listeners:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()
            except OSError as error:
                message = f"cannot listen on {host}:{port}: {error.strerror}"
                hint = "is it running already, or do two settings name this port?"
                raise ConfigurationError(message, hint=hint) from error


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - read, not bound


class _Announcement:
    """Says that all is ready; of a demo, whose panel shows what is stored, when the loader has reached the database."""

    def __init__(self, config: Config, scope: Scope) -> None:
        """Nothing is said yet."""
        self._config = config
        self._scope = scope
        self._began_at = time.time()
        self._is_due = False
        self._public = f"http://{_reachable(config.server.host)}:{config.server.port}"

    def begin(self) -> None:
        collect = self._public + self._config.server.collect_path
        log.info("Evothesis serves.", extra={"role": self._scope.role, "collect": collect})
        self._is_due = self._scope.demo_port is not None

    def tend(self) -> None:
        beat = heartbeat.read(self._config.spool.path) if self._is_due else None
        if beat and beat.at > self._began_at and not beat.database_error:
            self._is_due = False
            self._welcome()

    def _welcome(self) -> None:
        config = self._config
        operator = f"http://{_reachable(config.admin.host)}:{config.admin.port}"
        program = "evothesis" if shutil.which("evothesis") else sys.argv[0]  # in a checkout it is on no path
        print(  # noqa: T201 - the demo's welcome is for the person who started it
            f"""
  Demo site    http://127.0.0.1:{self._scope.demo_port}/          visit it, click about
  Collector    {self._public}{config.server.collect_path}
  Events       curl -H 'Authorization: Bearer {config.admin.token}' {operator}/events/recent
  Deliver      {program} export                 writes Parquet into {config.export.destination[0].url}
  Bill         {program} usage
  Stop         Ctrl-C
""",
            flush=True,
        )

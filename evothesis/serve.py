"""Serve: the configuration in, a running appliance out.

All processes start at once: collectors take events whatever the database does, the others wait for it. They end in
order: collectors, so that nothing new comes in; the loader, when it has stored what they sealed, and those who only
read; PostgreSQL, after its clients.
"""

from __future__ import annotations

import gc
import logging
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from evothesis import heartbeat, listener, pg
from evothesis.appliance.postgres import Postgres
from evothesis.collector.reception import Shared
from evothesis.collector.script import tracker
from evothesis.collector.stranger import check_parser
from evothesis.config import Config
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.numbers import Board
from evothesis.programs import OTHER_ROWS, Scope, Sockets, Stage, collectors, programs, reachable, today
from evothesis.supervisor import Supervisor

log = logging.getLogger(__name__)

DEMO_EXPORT_SECONDS = 300
SHOW_SECONDS = 5
STOP_SECONDS_MAX = 9  # systemd and people expect that all of it ends within ten


def serve(config: Config, scope: Scope) -> None:
    """Run until SIGTERM or SIGINT.

    Raises EvothesisError for what is known to be wrong before anything runs. What only the database knows, a wrong
    password, say, is the loader's to tell: that is no reason to refuse events.
    """
    if scope.demo_port and not config.admin.token:
        admin = msgspec.structs.replace(config.admin, token=secrets.token_urlsafe(24))
        config = msgspec.structs.replace(config, admin=admin)
    check_parser()
    listener.tls(config.server)  # what is wrong with it is said before anything runs
    sockets = _inherited(config)
    _check_free(_listeners(config, scope, sockets))
    shared = Shared.begin(config, today()) if scope.has_collector else None
    board = Board(collectors(config) + OTHER_ROWS, elsewhere=None if scope.has_collector else config.spool.path)
    server = _acquire(config) if config.database.is_embedded and scope.has_loader else None
    url = server.url if server else config.database.url
    if scope.has_loader:
        pg.check(url)
    exporter = _Periodic(scope.config_path) if scope.demo_port else None
    announcement = _Announcement(config, scope)
    tended: list[Callable[[], object]] = [part.tend for part in (server, exporter, announcement) if part]
    if shared:
        tended.append(lambda: shared.day_key.of(today()))
    if not scope.has_loader:
        tended.append(_Shown(board, config.spool.path).tend)
    supervisor = Supervisor(
        programs(Stage(config, url, scope, shared, board, sockets)),
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


def _inherited(config: Config) -> Sockets:
    sockets = listener.inherited()
    for name, wanted in (("collector", config.server.port), ("admin", config.admin.port)):
        if name in sockets and sockets[name].getsockname()[1] != wanted:
            log.warning("systemd listens on another port than is configured.", extra={"listener": name, "port": wanted})
    return sockets


def _acquire(config: Config) -> Postgres:
    server = Postgres(config.database.path)
    if not server.acquire():
        message = f"another process runs the PostgreSQL in {config.database.path}"
        raise EvothesisError(message, hint="is `evothesis serve` running already?")
    return server


class _Shown:
    """Shows what collectors count to the operator's listener of another `serve`."""

    def __init__(self, board: Board, spool: Path) -> None:
        """At once, and then now and then."""
        self._board = board
        self._spool = spool
        self._due_at = time.monotonic()

    def tend(self) -> None:
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + SHOW_SECONDS
            with suppress(OSError):  # on a full disk events are what matters
                self._board.show(self._spool)


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


def _listeners(config: Config, scope: Scope, sockets: Sockets) -> list[tuple[str, int]]:
    """Where this process is to listen by itself."""
    listeners = []
    if scope.has_collector and "collector" not in sockets:
        listeners.append((config.server.host, config.server.port))
    if scope.has_loader and "admin" not in sockets:
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


class _Announcement:
    """Says that all is ready; of a demo, whose panel shows what is stored, when the loader has reached the database."""

    def __init__(self, config: Config, scope: Scope) -> None:
        """Nothing is said yet."""
        self._config = config
        self._scope = scope
        self._began_at = time.time()
        self._is_due = False
        self._public = f"http://{reachable(config.server.host)}:{config.server.port}"

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
        operator = f"http://{reachable(config.admin.host)}:{config.admin.port}"
        program = "evothesis" if shutil.which("evothesis") else sys.argv[0]  # in a checkout it is on no path
        print(  # noqa: T201 - the demo's welcome is for the person who started it
            f"""
  Demo site    http://127.0.0.1:{self._scope.demo_port}/          visit it, click about
  Collector    {self._public}{config.server.collect_path}
  Operator     {operator}/          enter with the token {config.admin.token}
  Events       curl -H 'Authorization: Bearer {config.admin.token}' {operator}/events/recent
  Deliver      {program} export                 writes Parquet into {config.export.destination[0].url}
  Bill         {program} usage
  Stop         Ctrl-C
""",
            flush=True,
        )

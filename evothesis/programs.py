"""Programs: what the parent made before it forked in, what each process does until it is told to end out."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from evothesis import listener
from evothesis.admin.http import admin_application
from evothesis.collector.commit import Committer
from evothesis.collector.reception import Shared
from evothesis.collector.server import Server
from evothesis.config import Config
from evothesis.demo import demo_application
from evothesis.errors import EvothesisError
from evothesis.loader.run import Loader
from evothesis.numbers import Board, Row
from evothesis.supervisor import Program, Pulse

START_SECONDS = 10  # in which an embedded PostgreSQL has usually started
NICE = 5  # of who answers people: where CPU is short, events are taken and stored first
OTHER_ROWS = 2  # of numbers: the loader's and the operator's listener's

Sockets = Mapping[str, socket.socket]  # that systemd opened, for "collector" and "admin"


class Scope(NamedTuple):
    """What is served: the role ("all", "collector" or "loader"), and the demo site's port, if it has one.

    Exports are started with the configuration at `config_path`.
    """

    role: str
    demo_port: int | None = None
    config_path: Path | None = None

    @property
    def has_collector(self) -> bool:
        """Whether events are taken."""
        return self.role != "loader"

    @property
    def has_loader(self) -> bool:
        """Whether events are stored, which needs the database."""
        return self.role != "collector"


class Stage(NamedTuple):
    """What all processes have from their parent; `url` is the database's, `shared` what collectors share."""

    config: Config
    url: str
    scope: Scope
    shared: Shared | None
    board: Board
    sockets: Sockets


def collectors(config: Config) -> int:
    """How many there are."""
    return config.server.processes or len(os.sched_getaffinity(0))


def today() -> date:
    """The UTC day, which the key that hides addresses belongs to."""
    return datetime.now(UTC).date()


def reachable(host: str) -> str:
    """The address at which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - read, not bound


def programs(stage: Stage) -> list[list[Program]]:
    """All processes, in the groups that end one after another."""
    count = collectors(stage.config)
    groups = []
    if shared := stage.shared:
        groups.append([_collector(stage, shared, number) for number in range(count)])
    if stage.scope.has_loader:
        loader = _keyless(stage, "loader", lambda pulse: _load(stage, stage.board.row(count), pulse))
        admin = _keyless(stage, "admin", lambda pulse: _administer(stage, stage.board.row(count + 1), pulse))
        groups.append([loader, admin])
    if port := stage.scope.demo_port:
        groups[-1].append(_keyless(stage, "demo", lambda pulse: _demonstrate(stage, port, pulse)))
    return groups


def _collector(stage: Stage, shared: Shared, number: int) -> Program:
    return Program(f"collector {number}", lambda pulse: _collect(stage, shared, stage.board.row(number), pulse))


def _keyless(stage: Stage, name: str, main: Callable[[Pulse], None]) -> Program:
    """One that has no use for what hides addresses."""

    def forgetful(pulse: Pulse) -> None:
        if stage.shared:
            stage.shared.day_key.forget()
        main(pulse)

    return Program(name, forgetful)


def _collect(stage: Stage, shared: Shared, numbers: Row, pulse: Pulse) -> None:
    timed = listener.timed(pulse, numbers)

    def tend() -> None:
        shared.day_key.of(today())  # the key of yesterday goes, also when nobody comes
        timed()

    async def main(stopped: asyncio.Event) -> None:
        committer = Committer(stage.config.spool, numbers)
        await committer.open()
        writing = asyncio.create_task(committer.run())
        broken = asyncio.create_task(committer.broken.wait())
        server = await Server.open(stage.config, committer, shared, stage.sockets.get("collector"))
        serving = asyncio.create_task(listener.pulse_until(stopped, tend))
        await asyncio.wait([broken, serving, writing], return_when=asyncio.FIRST_COMPLETED)
        await server.close()
        if committer.broken.is_set():
            message = "the spool cannot be written"
            raise EvothesisError(message)
        committer.close()
        await writing

    listener.run(main)


def _load(stage: Stage, numbers: Row, pulse: Pulse) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    config = stage.config
    config.spool.path.mkdir(parents=True, exist_ok=True, mode=0o770)
    start_seconds = START_SECONDS if config.database.is_embedded else 0
    events_max = config.limits.events_per_site_and_day

    def tend() -> None:
        numbers.publish()
        pulse()

    loader = Loader(stage.url, config.spool, stop, tend, events_max=events_max, start_seconds=start_seconds)
    loader.numbers = numbers
    loader.run()


def _administer(stage: Stage, numbers: Row, pulse: Pulse) -> None:
    os.nice(NICE)
    admin = stage.config.admin
    application = admin_application(stage.config, stage.url, stage.board, config_path=stage.scope.config_path)
    timed = listener.timed(pulse, numbers)
    listener.serve(application, admin.host, admin.port, timed, listening=stage.sockets.get("admin"))


def _demonstrate(stage: Stage, port: int, pulse: Pulse) -> None:
    server = stage.config.server
    collector = f"http://{reachable(server.host)}:{server.port}"
    listener.serve(demo_application(stage.url, collector=collector, port=port), "127.0.0.1", port, pulse)

"""Systems: what is measured, each started and stopped in a folder of its own, with a PostgreSQL of its own.

All use the embedded PostgreSQL with the same settings: fsync, full_page_writes and synchronous_commit are on.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, ClassVar, LiteralString

import psycopg
import tomli_w
from psycopg import sql

from evothesis import pg
from evothesis.appliance.postgres import Postgres
from evothesis.migrate import migrate

ROOT = Path(__file__).parent.parent
FIRST_VERSION_TABLE = Path(__file__).parent / "peers/first_version.sql"
TOKEN = "a-token-of-the-benchmarks"  # noqa: S105 - of a server that lives as long as its run
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30


class System(ABC):
    """A collector that takes POST /collect and stores in a PostgreSQL."""

    name: ClassVar[str]
    load_options: ClassVar[tuple[str, ...]] = ()  # of the generator: what this system wants to be sent

    def __init__(self, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        """Nothing runs yet; what the folder holds from a run before is kept. `prefix` stands before the command."""
        self._prefix = prefix
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where events are sent."""
        return f"http://127.0.0.1:{self.port}/collect"

    @property
    @abstractmethod
    def dsn(self) -> str:
        """The database."""

    @abstractmethod
    def stored(self, connection: psycopg.Connection) -> int:
        """The events that a reader of `events_log` sees, told cheaply."""

    def connect(self) -> psycopg.Connection:
        """A connection of an observer."""
        return psycopg.connect(self.dsn, autocommit=True)

    def count(self) -> int:
        """The events that are stored, counted."""
        with self.connect() as connection:
            return scalar(connection, "select count(*) from events_log")

    @abstractmethod
    def start(self) -> None:
        """Return when requests are answered."""

    def stop(self) -> None:
        """End it in order."""
        if self.process:
            self.process.terminate()
            self.process.wait(STOP_SECONDS_MAX)
            self.process = None
        if self._log:
            self._log.close()

    def discard(self) -> None:
        """Remove what it stored."""
        shutil.rmtree(self.folder)

    def _spawn(self, command: list[str], environment: dict[str, str]) -> None:
        self._log = (self.folder / "output.log").open("ab")
        self.process = subprocess.Popen(
            # so that a kill leaves nothing
            [*self._prefix, "setpriv", "--pdeathsig", "TERM", sys.executable, *command],
            cwd=self.folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("EVOTHESIS_")}
            | {"PYTHONPATH": str(ROOT)}
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                log = self.folder / "output.log"
                last = (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
                message = f"{self.name} did not start: {last} (see {log})"
                raise RuntimeError(message)
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Appliance(System):
    """`evothesis serve` with its defaults, but for the limit per address: all load comes from one."""

    name = "evothesis"

    def __init__(self, folder: Path, *, prefix: Sequence[str] = ()) -> None:
        """As every system; the operator's listener has a port, too."""
        super().__init__(folder, prefix=prefix)
        self._admin_port = free_port()

    @property
    def admin_url(self) -> str:
        """Where the operator asks."""
        return f"http://127.0.0.1:{self._admin_port}"

    @property
    def dsn(self) -> str:
        """The database."""
        return Postgres(self.folder / "var/postgres").url

    def stored(self, connection: psycopg.Connection) -> int:
        """A visible load implies its events."""
        return scalar(connection, "select coalesce(sum(accepted), 0)::bigint from loads")

    def start(self) -> None:
        """Start the server."""
        settings = {
            "server": {"host": "127.0.0.1", "port": self.port},
            "admin": {"port": self._admin_port, "token": TOKEN},
            "limits": {"per_address": 0},
        }
        (self.folder / "config.toml").write_text(tomli_w.dumps(settings))
        self._spawn(["-m", "evothesis", "serve", "--config", "config.toml"], {})

    def _answers(self) -> bool:
        """It takes events before it has a database; what is measured ends there."""
        if not super()._answers():
            return False
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/health")
        report = json.loads(connection.getresponse().read())
        connection.close()
        return bool(report["database"]["connected"])


class FirstVersion(System):
    """The first version's way, one commit for each request of ten events."""

    name = "peer a"
    application: ClassVar[str] = "first_version:bulk"

    def __init__(self, folder: Path) -> None:
        """Its PostgreSQL is ours."""
        super().__init__(folder)
        self._postgres = Postgres(self.folder / "postgres")

    @property
    def dsn(self) -> str:
        """The database."""
        return self._postgres.url

    def stored(self, connection: psycopg.Connection) -> int:
        """Count; an answer comes after the commit, so that this is asked once."""
        return scalar(connection, "select count(*) from events_log")

    def start(self) -> None:
        """Start PostgreSQL and uvicorn."""
        self._postgres.acquire()
        self._postgres.start()
        with self.connect() as connection:
            connection.execute(FIRST_VERSION_TABLE.read_bytes())
        command = f"-m uvicorn benchmarks.peers.{self.application} --port {self.port} {self._options()}"
        self._spawn(command.split(), {"FIRST_VERSION_DATABASE": self.dsn})

    def _options(self) -> str:
        """A worker for each core, and what is quickest."""
        workers = len(os.sched_getaffinity(0))
        return f"--workers {workers} --loop uvloop --http httptools --no-access-log --log-level warning"

    def stop(self) -> None:
        """Stop both."""
        super().stop()
        self._postgres.stop()


class FirstVersionSingle(FirstVersion):
    """The same with one commit for each event."""

    name = "peer b"
    application = "first_version:single"


class AsShipped(FirstVersion):
    """The first version untuned: one commit for each request, one worker, the defaults of every library."""

    name = "peer c"
    application = "as_shipped:bulk"
    load_options = ("--content-type", "application/json")  # FastAPI reads nothing else as JSON

    def _options(self) -> str:
        return ""


class AsShippedSingle(AsShipped):
    """The same with one commit for each event."""

    name = "peer d"
    application = "as_shipped:single"


class Database:
    """Our schema in a PostgreSQL of its own, with nobody else in it."""

    def __init__(self, folder: Path) -> None:
        """Nothing runs yet."""
        self.folder = folder.absolute()
        self._postgres = Postgres(self.folder / "postgres")

    @property
    def dsn(self) -> str:
        """The database."""
        return self._postgres.url

    def start(self) -> None:
        """Start it and bring its schema up to date."""
        self._postgres.acquire()
        self._postgres.start()
        with pg.connect(self.dsn, name="migrate") as connection:
            migrate(connection)

    def stop(self) -> None:
        """Stop it."""
        self._postgres.stop()


def scalar(connection: psycopg.Connection, query: LiteralString | sql.Composed) -> int:
    """The one number that a query answers."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Appliance: a whole `evothesis serve` with its own folder, ports and database, to be used and broken from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
import tomli_w

from evothesis.appliance.postgres import Postgres
from tests import processes
from tests.asking import Asking, Parameters

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-of-the-tests"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
COMMAND_SECONDS_MAX = 60
POLL_SECONDS = 0.02
OUTPUT_SHOWN_LENGTH = 20_000

Settings = Mapping[str, Any]
T = TypeVar("T")


def eventually(check: Callable[[], T], *, timeout: float = 10, message: str = "") -> T:
    """Return the first true answer of `check`; until then it may also raise what a service raises that is not there."""
    deadline = time.monotonic() + timeout
    while True:
        is_last = time.monotonic() >= deadline
        try:
            if answer := check():
                return answer
        except (AssertionError, OSError, psycopg.OperationalError):
            if is_last:
                raise
        if is_last:
            raise AssertionError(message or f"this was not so within {timeout} s")
        time.sleep(POLL_SECONDS)


class Appliance:
    """One appliance in `folder`; it may be started, stopped and killed any number of times."""

    def __init__(self, folder: Path, settings: Settings | None = None, *, demo: bool = False) -> None:
        """Write the configuration, in which paths keep their defaults below the working folder; nothing runs yet."""
        self.folder = folder
        self.config_path = folder / "config.toml"
        self.bucket = folder / "var/bucket"
        self.spool = folder / "var/spool"
        self.output_path = folder / "serve.log"
        port, admin_port, self._demo_port = processes.free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.admin_url = f"http://127.0.0.1:{admin_port}"
        self.demo_url = f"http://127.0.0.1:{self._demo_port}"
        self.admin_headers = {"Authorization": f"Bearer {TOKEN}"}
        self._demo = demo
        self._process: subprocess.Popen[bytes] | None = None
        self.settings = _merged(
            {
                "instance": "test",
                "server": {"host": "127.0.0.1", "port": port, "processes": 2},
                "admin": {"host": "127.0.0.1", "port": admin_port, "token": TOKEN},
                "limits": {"per_address": 0},  # all load comes from one address
                "database": {"url": "embedded"},
                "export": {"destination": [{"name": "client", "url": "file:var/bucket"}]},
            },
            settings or {},
        )
        self.config_path.write_text(tomli_w.dumps(self.settings))
        database_url = str(self.settings["database"]["url"])
        self.dsn = Postgres(folder / "var/postgres").url if database_url == "embedded" else database_url
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("EVOTHESIS_")}
        self.environment |= {"EVOTHESIS_CONFIG": str(self.config_path), "PYTHONPATH": str(ROOT)}

    def start(self, *, with_database: bool = True) -> Appliance:
        """Start the server; returns when it says, the way systemd is told, that it is ready, and has its database."""
        assert self._process is None, "it runs already"
        command = [sys.executable, "-m", "evothesis", "serve", "--config", str(self.config_path)]
        if self._demo:
            command += ["--demo", "--demo-port", str(self._demo_port)]
        self._told = _Notices()
        environment = self.environment | {"NOTIFY_SOCKET": self._told.address}
        with self.output_path.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while "READY=1" not in self._told.states:
            ended = self._process.poll()
            assert ended is None, f"`evothesis serve` ended with {ended}:\n{self.output()}"
            assert time.monotonic() < deadline, f"`evothesis serve` was not ready in {START_SECONDS_MAX} s"
            time.sleep(POLL_SECONDS)
        if with_database:
            eventually(lambda: self.health()["database"]["connected"], timeout=START_SECONDS_MAX)
        return self

    def health(self) -> Any:  # noqa: ANN401 - any JSON value
        """What the public listener says of itself and of what is behind it."""
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        try:
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop the server as systemd does; it ends in time, without complaint, and leaves no process behind."""
        assert self._process, "it does not run"
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            left = self.processes()
            self.destroy()
            message = f"`evothesis serve` runs {STOP_SECONDS_MAX} s after SIGTERM; its processes: {left}"
            raise AssertionError(message) from None
        self._forget()
        assert (0, {}) == (code, self.processes())

    def kill(self, name: str) -> int:
        """SIGKILL one process; returns its id.

        `name` is a title such as "evothesis: collector 0", "postgres" (the postmaster) or "serve" (the parent of all;
        returns when its children have ended too, which is up to them).
        """
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        if name == "serve":
            self._forget()
            eventually(
                lambda: not self.processes(), timeout=STOP_SECONDS_MAX, message="children outlive the killed parent"
            )
        return pid

    def send(self, pid: int, number: signal.Signals) -> None:
        """Signal one of this appliance's processes."""
        assert pid in self.processes()
        os.kill(pid, number)

    def pid(self, name: str) -> int:
        """The id of a process; see `kill`. Waits for one that is being started again."""
        assert self._process, "it does not run"
        parent = self._process.pid
        if name == "serve":
            return parent

        is_named = processes.is_postmaster if name == "postgres" else name.__eq__

        def find() -> int:
            children = processes.children(parent)
            return next((pid for pid, title in children.items() if is_named(title)), 0)

        return eventually(find, message=f"no process {name!r} among {self.processes()}")

    def processes(self) -> dict[int, str]:
        """Every process that works in this folder, with its title: whoever started it, whoever its parent is now."""
        return processes.working_in(self.folder)

    def destroy(self) -> None:
        """SIGKILL every process at once, PostgreSQL's too; returns when none is left."""

        def is_gone() -> bool:
            # again and again: one may have been forked after the list was made
            for pid in sorted(self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.processes()

        eventually(is_gone, message="processes outlive SIGKILL")
        self._forget()

    def _forget(self) -> None:
        """Wait for the process that `start` made, and let go of what belongs to it."""
        self._asking.close()
        if self._process:
            self._process.wait()
            self._process = None
            self._told.close()

    @property
    def is_running(self) -> bool:
        """Whether `start` was called last."""
        return self._process is not None

    def cli(self, *arguments: str, timeout: float = COMMAND_SECONDS_MAX) -> subprocess.CompletedProcess[str]:
        """Run `evothesis …` with this appliance's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "evothesis", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `evothesis …` and let it run; what it says goes where the server's output goes."""
        command = [sys.executable, "-m", "evothesis", *arguments]
        with self.output_path.open("ab") as output:
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=output, stderr=output)

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - any JSON value
        """What a command prints as JSON; it must succeed."""
        done = self.cli(*arguments, "--format", "json")
        assert 0 == done.returncode, f"`evothesis {' '.join(arguments)}` ended with {done.returncode}:\n{done.stderr}"
        return json.loads(done.stdout)

    def export(self) -> Any:  # noqa: ANN401 - any JSON value
        """Deliver what is due: what `evothesis export` prints as JSON."""
        return self.json("export")

    def usage(self, *arguments: str) -> Any:  # noqa: ANN401 - any JSON value
        """Count what is billed: what `evothesis usage` prints as JSON."""
        return self.json("usage", *arguments)

    @cached_property
    def _asking(self) -> Asking:
        return Asking(self.dsn)

    def rows(self, query: LiteralString, params: Parameters | None = None) -> list[dict[str, Any]]:
        """Ask the database."""
        return self._asking.rows(query, params)

    @property
    def buckets(self) -> list[Path]:
        """The folder of each destination."""
        return [self.folder / place["url"].removeprefix("file:") for place in self.settings["export"]["destination"]]

    def waiting_segments(self) -> list[str]:
        """What the spool holds that is not in the database: sealed segments, and open ones that hold something."""
        found = []
        for file in self.spool.glob("*/*"):
            with suppress(FileNotFoundError):  # sealed or loaded between the listing and the look
                if file.suffix == ".sealed" or (file.suffix in {".open", ".recovered"} and file.stat().st_size):
                    found.append(f"{file.parent.name}/{file.name}")
        return found

    def wait_until_drained(self, timeout: float = 30) -> None:
        """Return when everything that was acknowledged is in the database; nobody may be sending."""

        def is_drained() -> bool:
            # twice: a segment that is renamed while the folder is listed may be missed under both of its names
            return not self.waiting_segments() and not self.waiting_segments()

        try:
            eventually(is_drained, timeout=timeout)
        except AssertionError:
            message = f"not loaded within {timeout} s: {self.waiting_segments()}"
            raise AssertionError(message) from None

    def output(self) -> str:
        """The end of what the server said."""
        return self.output_path.read_text(errors="replace")[-OUTPUT_SHOWN_LENGTH:] if self.output_path.exists() else ""


class _Notices:
    """What a server tells systemd, read as systemd does: at once, and for as long as the server runs (sd_notify(3))."""

    def __init__(self) -> None:
        """Listen."""
        self.states: set[str] = set()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(b"\0evothesis-test-%d-%d" % (os.getpid(), random.getrandbits(62)))
        self.address = "@" + self._socket.getsockname()[1:].decode()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while state := self._socket.recv(4096):
            self.states.add(state.decode())


def _merged(below: Settings, above: Settings) -> dict[str, Any]:
    """Tables are merged, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        merged[name] = _merged(merged.get(name, {}), value) if isinstance(value, Mapping) else value
    return merged

"""Sockets that systemd opened: `serve` listens on them, and nothing is refused while it restarts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests import processes
from tests.appliance import ROOT, eventually

# sd_listen_fds(3): sockets from descriptor 3 on, the process they are for, their names; systemd does it as this does
ACTIVATE = """
import os, sys
listening, *command = sys.argv[1:]
os.dup2(int(listening), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "collector"}
os.execv(command[0], command)
"""
EVENT = {"eventType": "click", "siteId": "a.example", "eventId": f"{1:032x}"}


class Collector:
    """`evothesis serve --role collector` on a socket that this object holds."""

    def __init__(self, folder: Path) -> None:
        """It does not run yet, and the configured port is one that it could not use."""
        self._folder = folder
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.busy = socket.create_server(("127.0.0.1", processes.free_ports(1)[0]))
        self.port = self.socket.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> None:
        """Start it; nobody waits until it is ready."""
        descriptor = self.socket.fileno()
        command = [sys.executable, "-c", ACTIVATE, str(descriptor), sys.executable, "-m", "evothesis"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EVOTHESIS_")}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "EVOTHESIS_SERVER_PROCESSES": "2",
            "EVOTHESIS_SERVER_HOST": "127.0.0.1",
        }
        environment |= {"EVOTHESIS_SERVER_PORT": str(self.busy.getsockname()[1])} | variables
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "serve", "--role", "collector"],
                cwd=self._folder,
                env=environment,
                pass_fds=[descriptor],
                stderr=output,
            )

    def stop(self) -> int:
        """Stop it as systemd does; its exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def request(self) -> HTTPConnection:
        """A connection on which an event was sent; the answer was not read yet."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/collect", json.dumps(EVENT), {"Content-Type": "application/json"})
        return connection

    def close(self) -> None:
        """End all of it."""
        if self._process:
            self.stop()
        self.socket.close()
        self.busy.close()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector that was not started."""
    collector = Collector(tmp_path)
    yield collector
    collector.close()


def status(connection: HTTPConnection) -> int:
    """The status of the answer."""
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_nothing_is_refused(collector: Collector, tmp_path: Path) -> None:
    """Who comes before it runs, and while it restarts, waits and is answered, on systemd's socket and no other."""
    before = collector.request()
    collector.start()
    first = status(before)
    code = collector.stop()
    meanwhile = collector.request()
    collector.start()

    assert (200, 0, 200) == (first, code, status(meanwhile)), (tmp_path / "output").read_text()
    assert "systemd listens on another port than is configured." in (tmp_path / "output").read_text()


def test_no_secrets(collector: Collector, tmp_path: Path) -> None:
    """A collector starts without the files of secrets that the configuration names."""
    (tmp_path / "config.toml").write_text(
        "[admin]\ntoken_file = '/nowhere/token'\n[database]\nurl_file = '/nowhere/url'\n"
        "[[export.destination]]\nsecret_access_key_file = '/nowhere/key'\n"
    )
    collector.start(EVOTHESIS_CONFIG="config.toml")

    assert 200 == eventually(lambda: status(collector.request()))


def test_watched(collector: Collector, tmp_path: Path) -> None:
    """Systemd is told that it is ready, and then again and again that it is alive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        collector.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        said = [manager.recv(100) for _ in range(4)]

    assert b"READY=1" in said
    assert b"WATCHDOG=1" == said[-1]

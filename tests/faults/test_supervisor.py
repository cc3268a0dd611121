"""The supervisor under an unkind system: it goes on with what it has, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import processes
from tests.appliance import eventually

STOP_SECONDS_MAX = 20

PROGRAM = """
import logging, signal, time
from evothesis.supervisor import Program, Supervisor

def work(pulse):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    while not stopped:
        pulse()
        time.sleep(0.2)

logging.basicConfig(format="%(message)s")
Supervisor([[Program("work", work)]], tend=lambda: None, in_child=lambda: None).run(lambda: print("ready", flush=True))
"""


class Supervised:
    """A supervisor with one program, and what it says on stderr."""

    def __init__(self, folder: Path) -> None:
        """Start it; returns when the program is ready."""
        self._log = folder / "log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", PROGRAM]
            self.parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
        assert self.parent.stdout
        assert b"ready\n" == self.parent.stdout.readline()

    @property
    def child(self) -> int:
        """The program's process; 0 while there is none."""
        return next(iter(processes.children(self.parent.pid)), 0)

    @property
    def log(self) -> list[str]:
        """What was said."""
        return self._log.read_text().splitlines()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """One that is running; whatever is left of it is killed."""
    supervised = Supervised(tmp_path)
    yield supervised
    for pid in processes.working_in(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    supervised.parent.communicate()


def test_no_room_for_a_process(supervised: Supervised) -> None:
    """While the system refuses another process the supervisor goes on, and starts it when there is room."""
    before = supervised.child
    limits = resource.prlimit(supervised.parent.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervised.parent.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    os.kill(before, signal.SIGKILL)
    refusal = "Process could not be started, trying again."
    eventually(lambda: refusal in supervised.log)
    resource.prlimit(supervised.parent.pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: supervised.child not in (0, before), timeout=STOP_SECONDS_MAX)
    supervised.parent.terminate()

    assert 0 == supervised.parent.wait(STOP_SECONDS_MAX)

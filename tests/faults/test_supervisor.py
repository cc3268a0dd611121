"""The supervisor under an unkind system: it goes on with what it has, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from evothesis import supervisor
from tests import processes
from tests.appliance import eventually

STOP_SECONDS_MAX = 20
STILL_SECONDS = 62  # a little more than a process may stand still

PROGRAM = """
import logging, os, signal, sys, time
from evothesis.errors import EvothesisError
from evothesis.supervisor import Program, Supervisor

began = time.monotonic()

def work(pulse):
    if "refuse" in sys.argv:
        raise EvothesisError("it may not be", hint="let it be")
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    while not stopped:
        pulse()
        time.sleep(0.2)
        while "still" in sys.argv:
            time.sleep(1)

def tend():
    if "for" in sys.argv and time.monotonic() - began > float(sys.argv[-1]):
        os.kill(os.getpid(), signal.SIGTERM)

told = logging.StreamHandler()
told.setFormatter(logging.Formatter("%(message)s %(reason)s", defaults={"reason": ""}))
logging.basicConfig(handlers=[told])
Supervisor([[Program("work", work)]], tend=tend, in_child=lambda: None).run(lambda: print("ready", flush=True))
"""


class Supervised:
    """A supervisor with one program, and what it says on stderr."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """Start it; returns when the program is ready."""
        self._log = folder / "log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", PROGRAM, *arguments]
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
def supervised(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Supervised]:
    """One that is running; whatever is left of it is killed."""
    supervised = Supervised(tmp_path, *getattr(request, "param", ()))
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
    eventually(lambda: any(line.startswith(refusal) for line in supervised.log))
    resource.prlimit(supervised.parent.pid, resource.RLIMIT_NOFILE, limits)
    eventually(lambda: supervised.child not in (0, before), timeout=STOP_SECONDS_MAX)
    supervised.parent.terminate()

    assert 0 == supervised.parent.wait(STOP_SECONDS_MAX)


def test_told_to_end_at_once() -> None:
    """A program that is told to end before it has begun ends; nobody has to kill it."""
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", PROGRAM, "for", "0"], check=True, capture_output=True)

    assert b"" == ended.stderr
    assert time.monotonic() - began < supervisor.STOP_SECONDS_MAX


def test_known_failure() -> None:
    """A program that ends for a known reason says it in words, and is started again."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, "refuse", "for", "1"], check=True, capture_output=True)
    lines = ended.stderr.decode().splitlines()

    assert {"Process failed. it may not be", "Process ended, starting it again. "} == set(lines)
    assert lines.count("Process failed. it may not be") > 1


@pytest.mark.long
def test_paused_machine(supervised: Supervised) -> None:
    """After a pause of everything nobody is taken for a process that stands still."""
    before = supervised.child
    for pid in (before, supervised.parent.pid):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1)  # the parent has read all signs of life
    time.sleep(STILL_SECONDS)
    for pid in (supervised.parent.pid, before):
        os.kill(pid, signal.SIGCONT)
        time.sleep(2)
    supervised.parent.terminate()

    assert 0 == supervised.parent.wait(STOP_SECONDS_MAX)
    assert [] == supervised.log


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("supervised", [["still"]], indirect=True)
def test_orphan_that_stands_still(supervised: Supervised) -> None:
    """A process that stands still, and does not hear that its parent was killed, ends by itself."""
    child = supervised.child
    supervised.parent.kill()
    supervised.parent.wait()
    eventually(lambda: not Path(f"/proc/{child}").exists(), timeout=STILL_SECONDS + 20, message="it is still there")

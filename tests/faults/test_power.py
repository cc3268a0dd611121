"""The power is cut at any moment: what was acknowledged is there, once, in order, under one name for ever.

`SEED=123 pytest tests/faults/test_power.py` replays one history.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterable

import pytest

from evothesis.errors import SpoolFullError
from tests.faults.history import History
from tests.faults.model import FileSystem

HISTORIES, HISTORIES_LONG = 300, 10_000
CRASHES = 100
STEPS_MAX = 25


class SyncsNoFile(FileSystem):
    """A disk that says yes when it is told to sync a file, and does nothing."""

    def fdatasync(self, descriptor: int) -> None:
        """Say yes."""


class SyncsNoFolder(FileSystem):
    """A disk that says yes when it is told to sync a folder, and does nothing."""

    def fsync(self, descriptor: int) -> None:
        """Say yes."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand histories have much to tell."""
    caplog.set_level(logging.CRITICAL, "evothesis.spool")


def seeds(count: int) -> Iterable[int]:
    """That many new ones, or the one that is to be replayed."""
    if "SEED" in os.environ:
        return [int(os.environ["SEED"])]
    first = random.randrange(10**9)
    return range(first, first + count)


def live(seed: int, system: FileSystem | None = None) -> None:
    """Live through a history, and look at it after every step."""
    try:
        history = History(seed, system)
        history.system.short_writes = history.chance.random() < 0.3
        steps = [history.append, history.append, history.seal, history.load, history.crash, history.crash_within]
        steps += history.chance.choice(([], [history.restart], [history.fill_disk], [history.fail_sync]))
        for step in history.chance.choices(steps, k=history.chance.randint(1, STEPS_MAX)):
            step()
            history.check()
        history.end()
    except BaseException as error:
        error.add_note(f"SEED={seed}")
        raise


def test_write_and_crash() -> None:
    """What was written, and nothing else was done, is there after the power was cut."""
    for seed in seeds(CRASHES):
        history = History(seed)
        history.append()
        history.system.cut_power()
        history.recover()

        assert history.acked == history.payloads(), f"SEED={seed}"


def test_refusal_and_crash() -> None:
    """A group that did not fit is gone for good: no power cut brings a part of it into a segment that was sealed."""
    for seed in seeds(CRASHES):
        history = History(seed)
        history.append()
        history.system.room_bytes = history.chance.randint(1, 5000)
        try:
            while True:
                history.append()
        except SpoolFullError:
            history.system.room_bytes = float("inf")
        history.seal()
        history.check()
        history.system.cut_power()
        history.recover()
        history.seal()
        history.check()
        assert history.acked == history.payloads(), f"SEED={seed}"
        history.end()


@pytest.mark.parametrize(
    "histories", [HISTORIES, pytest.param(HISTORIES_LONG, marks=[pytest.mark.long, pytest.mark.timeout(1200)])]
)
def test_histories(histories: int) -> None:
    """Over any row of appends, seals, loads, full disks, failed syncs and crashes every promise is kept."""
    for seed in seeds(histories):
        live(seed)


@pytest.mark.parametrize("disk", [SyncsNoFile, SyncsNoFolder])
def test_disk_that_lies(disk: type[FileSystem]) -> None:
    """On a disk that syncs nothing these histories lose what was acknowledged: they would notice a missing sync."""

    def live_all() -> None:
        for seed in range(HISTORIES):
            live(seed, disk(random.Random(seed)))

    with pytest.raises(AssertionError, match="lost"):
        live_all()

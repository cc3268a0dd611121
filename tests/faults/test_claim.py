"""The spool is claimed on real files: durable before the first promise, whole after any failure."""

from __future__ import annotations

import errno
import itertools
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from evothesis.errors import SpoolBrokenError, SpoolError
from evothesis.spool.frame import Frame, decode
from evothesis.spool.segments import OPEN, sealed
from evothesis.spool.writer import Writer
from tests.faults.calls import Calls, Which

CALLS_MIN = 20
FOLDERS_MAX = 3


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is told, and there are many."""
    caplog.set_level(logging.CRITICAL, "evothesis.spool")


def claim(spool: Path, calls: Calls) -> Writer:
    """Claim a folder over these calls."""
    return Writer.claim(spool, system=cast(ModuleType, calls))


def at_call(number: int, code: int) -> Which:
    """Fail at the call of that number."""
    return lambda call, _: code * (call == number)


def files_open_in(folder: Path) -> list[str]:
    """The files in `folder` that this process has open."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a Path would open one more
        try:
            path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a link of the kernel, whose name is no path
        except FileNotFoundError:  # the listing's own
            continue
        if path.startswith(str(folder)):
            found.append(path)
    return found


def crash(writer: Writer) -> None:
    """Let go of a writer's files as the kernel does when its process is killed."""
    os.close(writer._descriptor)
    os.close(writer._lock)


def test_new_spool_is_durable(tmp_path: Path) -> None:
    """Before a new spool takes anything, every folder on the way to it is synced, so that none can be lost with it."""
    calls = Calls()
    writer = claim(tmp_path / "new" / "var" / "spool", calls)
    writer.close()

    made = [writer.folder, *writer.folder.parents]
    assert made[: made.index(tmp_path) + 1] == sorted(set(calls.synced), reverse=True)


def test_found_folder_is_durable(tmp_path: Path) -> None:
    """A folder whose maker was killed before it synced the folder's own name is synced by the next one."""
    spool = tmp_path / "spool"
    crash(Writer.claim(spool))
    calls = Calls()
    claim(spool, calls).close()

    assert spool in calls.synced


@pytest.mark.parametrize("name", ["EIO", pytest.param("ENOSPC", marks=pytest.mark.long)])
def test_any_call_fails(tmp_path: Path, name: str) -> None:
    """Whichever call fails, nothing stays open, no folder stays locked, and the next claim seals what was there."""
    for number in itertools.count():
        spool = tmp_path / str(number)
        writers = [Writer.claim(spool) for _ in range(2)]
        for writer in writers:
            writer.append([(b"kept", 1)])
            crash(writer)
        calls = Calls()
        calls.fail(at_call(number, getattr(errno, name)))
        try:
            claim(spool, calls).close()
        except (SpoolError, OSError):
            assert [] == files_open_in(spool)
        if not calls.failed:
            break
        Writer.claim(spool).close()

        found = {
            segment.writer: [*decode(segment.path.read_bytes(), segment_no=segment.segment_no)]
            for segment in sealed(spool)
        }
        assert {writer.writer: [Frame(0, 1, b"kept")] for writer in writers} == found, number
        assert [] == files_open_in(spool)
    assert number > CALLS_MIN


def test_broken_disk(tmp_path: Path) -> None:
    """On a disk on which no sync succeeds a claim ends with an error, and leaves no row of new folders behind."""
    calls = Calls()
    calls.fail(lambda call, name: errno.EIO * (name == "fsync" and call < 500))

    with pytest.raises(SpoolBrokenError):
        claim(tmp_path / "spool", calls)

    assert len(list((tmp_path / "spool").iterdir())) <= FOLDERS_MAX


def test_unreadable_segment(tmp_path: Path) -> None:
    """A left-open segment that cannot be read keeps nobody from starting, and stays where it is."""
    writer = Writer.claim(tmp_path)
    writer.append([(b"kept", 1)])
    crash(writer)
    calls = Calls()
    calls.fail(lambda _, name: errno.EIO * (name == "pread"))
    other = claim(tmp_path, calls)
    other.append([(b"more", 1)])
    other.close()

    assert writer.folder != other.folder
    assert [0] == [int(path.stem) for path in writer.folder.glob(f"*{OPEN}")]
    assert [(other.writer, 0)] == [segment[:2] for segment in sealed(tmp_path)]

"""Group commit on a spool that fails: no request hangs, none is told that it was kept when it was not."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evothesis.collector.commit import BUDGET_CHECK_SECONDS, Committer
from evothesis.config import Spool
from evothesis.errors import SpoolBrokenError, SpoolError, SpoolFullError
from evothesis.spool.frame import Frame, decode
from evothesis.spool.segments import sealed
from tests.faults.history import History

ANSWER_SECONDS_MAX = 5
LIVENESS_SECONDS_MAX = 10
CALLS_MIN = 20
WAITING = 2_000  # segments: longer than the test may take, by far
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is told, and there are many."""
    caplog.set_level(logging.CRITICAL, "evothesis")


@asynccontextmanager
async def running(committer: Committer) -> AsyncIterator[asyncio.Task[None]]:
    """A committer at work; closed at the end, unless it is broken: then its process would have ended."""
    await committer.open()
    writing = asyncio.create_task(committer.run())
    yield writing
    if committer.broken.is_set():
        writing.cancel()
        await asyncio.wait([writing])
    else:
        committer.close()
        await asyncio.wait_for(writing, ANSWER_SECONDS_MAX)


def committer_of(history: History, folder: Path) -> Committer:
    """A committer whose writer works on the model."""
    committer = Committer(Spool(path=folder))
    committer._writer = history.writer
    return committer


async def send(committer: Committer, history: History, at: datetime = NOON) -> SpoolError | None:
    """Let one request wait for its entry, as long as a sender would; returns its error."""
    payload = history.payload()
    try:
        await asyncio.wait_for(committer.append(payload, 1, at), ANSWER_SECONDS_MAX)
    except SpoolError as error:
        return error
    history.acked.append(payload)
    return None


async def until_kept(committer: Committer, history: History) -> None:
    """Return when a request was kept, in time; or when the committer is broken, after which none may be."""
    deadline = time.monotonic() + LIVENESS_SECONDS_MAX
    while await send(committer, history) and not committer.broken.is_set():
        assert time.monotonic() < deadline, f"nothing was kept within {LIVENESS_SECONDS_MAX} s"
        await asyncio.sleep(0.02)


def check_after_process(history: History) -> None:
    """The process is gone; the next one finds everything that was acknowledged."""
    history.system.kill()
    history.open()
    history.check()
    history.end()


def test_no_room(tmp_path: Path) -> None:
    """While the disk is full every request is refused, each by itself; when there is room, they are kept again."""

    async def live(history: History) -> list[SpoolError | None]:
        committer = committer_of(history, tmp_path)
        async with running(committer):
            await until_kept(committer, history)
            history.system.room_bytes = 0
            refused = await asyncio.gather(*(send(committer, history) for _ in range(5)))
            refused.append(await send(committer, history))
            history.system.room_bytes = float("inf")
            await until_kept(committer, history)
        return refused

    history = History(seed=0)
    refused = asyncio.run(live(history))

    assert [SpoolFullError] * 6 == [type(error) for error in refused]
    assert 2 == len(history.acked)
    check_after_process(history)


def test_disk_fails(tmp_path: Path) -> None:
    """After a failed sync those who wait and those who come later are refused, and the file is never synced again."""

    async def live(history: History) -> list[SpoolError | None]:
        committer = committer_of(history, tmp_path)
        async with running(committer):
            await until_kept(committer, history)
            history.system.fail_in(0, errno.EIO, only="fdatasync")
            refused = await asyncio.gather(*(send(committer, history) for _ in range(5)))
            assert committer.broken.is_set()
            # its process ends when the listener is closed, which takes a while
            until = time.monotonic() + 1.5 * BUDGET_CHECK_SECONDS
            while time.monotonic() < until:
                refused.append(await send(committer, history))
                await asyncio.sleep(0.1)
        return refused

    history = History(seed=0)
    refused = asyncio.run(live(history))

    assert {SpoolBrokenError} == {type(error) for error in refused}
    assert [] == history.system.lies
    check_after_process(history)


@pytest.mark.parametrize("name", ["EIO", "ENOSPC", "EROFS"])
@pytest.mark.parametrize("times", [1, 2])
def test_any_call_fails(tmp_path: Path, name: str, times: int) -> None:
    """Whichever call fails, every request gets its answer, what was kept is there, and the next requests are kept."""

    async def live(history: History) -> None:
        committer = committer_of(history, tmp_path)
        async with running(committer) as writing:
            for hour in (12, 13, 13, 14):  # each change of the hour seals
                await asyncio.gather(*(send(committer, history, NOON.replace(hour=hour)) for _ in range(3)))
            await until_kept(committer, history)
            assert committer.broken.is_set() or not writing.done()

    for calls in itertools.count():
        history = History(seed=calls)
        history.system.fail_in(calls, getattr(errno, name), times=times)
        asyncio.run(live(history))
        if not history.system.failed:
            break
        check_after_process(history)
    assert calls > CALLS_MIN


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let the kernel refuse to open anything more in this process (EMFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with ExitStack() as stack:
        try:
            while True:
                stack.enter_context(Path(os.devnull).open())
        except OSError:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_files(tmp_path: Path) -> None:
    """A process that may open no more files goes on, refuses what it must, and seals when it may open some again."""

    async def live(history: History) -> None:
        committer = Committer(Spool(path=tmp_path))
        async with running(committer) as writing:
            await until_kept(committer, history)
            with no_more_files():
                until = time.monotonic() + 2 * BUDGET_CHECK_SECONDS
                while time.monotonic() < until:
                    await send(committer, history)
                    await asyncio.sleep(0.02)
            await until_kept(committer, history)
            assert not writing.done()
            assert not committer.broken.is_set()

    history = History(seed=0)
    asyncio.run(live(history))

    found = [
        part.payload
        for segment in sealed(tmp_path)
        for part in decode(segment.path.read_bytes(), segment_no=segment.segment_no)
        if isinstance(part, Frame)
    ]
    assert history.acked == [payload for payload in found if payload in history.acked]
    assert len(set(found)) == len(found)


def test_many_segments_wait(tmp_path: Path) -> None:
    """While thousands of segments wait no more are made of few events; soon after they are gone all goes on as ever."""
    waiting = [tmp_path / "1" / f"{number:012d}.sealed" for number in range(WAITING)]
    waiting[0].parent.mkdir()
    for path in waiting:
        path.touch()
    gone = set(waiting)

    async def live(history: History) -> list[Path]:
        committer = Committer(Spool(path=tmp_path))
        async with running(committer):
            until = time.monotonic() + 2 * BUDGET_CHECK_SECONDS
            while time.monotonic() < until:
                assert await send(committer, history) is None
                await asyncio.sleep(0.05)
            made = [segment.path for segment in sealed(tmp_path) if segment.path not in gone]
            for path in waiting:
                path.unlink()
            deadline = time.monotonic() + LIVENESS_SECONDS_MAX
            while not sealed(tmp_path):
                assert time.monotonic() < deadline, f"nothing was sealed within {LIVENESS_SECONDS_MAX} s"
                await asyncio.sleep(0.05)
        return made

    assert [] == asyncio.run(live(History(seed=0)))

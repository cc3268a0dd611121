"""Any system call of the spool fails: the right error, nothing acknowledged lost, and it goes on when it can."""

from __future__ import annotations

import errno
import itertools
import logging
from collections.abc import Callable

import pytest

from evothesis.errors import SpoolBrokenError, SpoolError, SpoolFullError
from tests.faults.history import History

CODES = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "EROFS")
CALLS_MIN = 30  # of one cycle: fewer would mean that the model is not asked


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of recoveries have much to tell."""
    caplog.set_level(logging.CRITICAL, "evothesis.spool")


def settle(history: History, step: Callable[[], None], errors: list[SpoolError]) -> None:
    """Take a step until it succeeds: with the same writer after an error that passes, with another one after others."""
    while True:
        try:
            return step()
        except SpoolFullError as error:
            errors.append(error)
        except SpoolBrokenError as error:
            errors.append(error)
            history.system.kill()
            if step != history.open:
                settle(history, history.open, errors)


def cycle(calls: int, code: int, times: int = 1) -> tuple[History, list[SpoolError]]:
    """A writer's life, in which that many calls fail, with the errors that it raised."""
    history = History(seed=calls)
    history.system.short_writes = True
    history.append()
    history.system.kill()  # there is something to recover
    history.system.fail_in(calls, code, times=times)
    errors: list[SpoolError] = []
    for step in (history.open, history.append, history.append, history.seal, history.append):
        settle(history, step, errors)
        history.check()
    try:
        history.close()
    except SpoolFullError as error:
        errors.append(error)
        assert 0 == history.system.open_files
    except SpoolBrokenError as error:
        errors.append(error)
    history.system.kill()
    settle(history, history.open, errors)
    history.end()
    return history, errors


@pytest.mark.parametrize("name", CODES)
def test_one_call_fails(name: str) -> None:
    """Whichever call fails, the error tells whether a later one may succeed, and then the same writer's does."""
    code = getattr(errno, name)
    for calls in itertools.count():
        history, errors = cycle(calls, code)
        if not history.system.failed:
            break
        is_broken = name == "EIO" or history.system.failed == ["fdatasync"]

        assert [SpoolBrokenError if is_broken else SpoolFullError] == [type(error) for error in errors], calls
    assert calls > CALLS_MIN


@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("name", CODES)
def test_several_calls_fail(name: str, times: int) -> None:
    """Whichever calls fail one after the other, nothing is lost and nothing is there twice."""
    for calls in itertools.count():
        history, _ = cycle(calls, getattr(errno, name), times)
        if not history.system.failed:
            break
    assert calls > CALLS_MIN


def test_broken_writer() -> None:
    """After one failed sync a writer asks nothing more of the disk: a second one of the same file would lie."""
    history = History(seed=0)
    history.append()
    history.system.fail_in(0, errno.EIO, only="fdatasync")
    for step in (history.append, history.append, history.seal, history.append):
        with pytest.raises(SpoolBrokenError):
            step()
    history.crash()

    assert ["fdatasync"] == history.system.failed
    history.check()
    history.end()

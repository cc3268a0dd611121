"""The power is cut at any moment: what was acknowledged is there, once, in order, under one name for ever.

`SEED=123 pytest tests/faults/test_power.py` replays one history.
"""

from __future__ import annotations

import logging
import os
import random

import pytest

from tests.faults.history import History, open_writer
from tests.faults.model import FileSystem

HISTORIES, HISTORIES_LONG = 300, 10_000
STEPS_MAX = 25


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand histories have much to tell."""
    caplog.set_level(logging.CRITICAL, "evothesis.spool")


def live(seed: int, system: FileSystem | None = None) -> History:
    """Live through a history, and look at it after every step."""
    history = History(seed, system)
    history.system.short_writes = history.chance.random() < 0.3
    steps = [history.append, history.append, history.seal, history.load, history.crash, history.crash_within]
    steps += history.chance.choice(([], [history.close], [history.fill_disk], [history.fail_sync]))
    for step in history.chance.choices(steps, k=history.chance.randint(1, STEPS_MAX)):
        step()
        history.check()
    history.close()
    history.load()
    history.check()
    return history


@pytest.mark.parametrize("histories", [HISTORIES, pytest.param(HISTORIES_LONG, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_histories(histories: int) -> None:
    """Over any row of appends, seals, loads, full disks, failed syncs and crashes every promise is kept."""
    first = random.randrange(10**9)
    seeds = [int(os.environ["SEED"])] if "SEED" in os.environ else range(first, first + histories)
    for seed in seeds:
        try:
            history = live(seed)
        except BaseException as error:
            error.add_note(f"SEED={seed}")
            raise

        assert len(history.loaded) == len({number for number, _ in enumerate(history.loaded)})

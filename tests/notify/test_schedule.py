"""Schedule: when a message is tried again."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from evothesis.notify.schedule import PAUSES, Attempt, pause

FAILED = Attempt(error="the webhook answered 500")
TRIES = 10
# "Time since start" in the table of the specification
SINCE_START = ["0:00:05", "0:05:05", "0:35:05", "2:35:05", "7:35:05", "17:35:05", "31:35:05", "51:35:05", "75:35:05"]


def clock(time: timedelta) -> str:
    """As the specification writes it."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def test_pauses() -> None:
    """Without a spread, the attempts are those of the specification's table; after the tenth there is none."""
    pauses = [pause(attempts, FAILED, 0.0) for attempts in range(1, TRIES + 1)]

    assert SINCE_START == [clock(since) for since in accumulate(part for part in pauses if part)]
    assert [None] == pauses[TRIES - 1 :]


@given(integers(1, TRIES - 1), floats(0, 1, exclude_max=True))
def test_spread(attempts: int, chance: float) -> None:
    """A pause is never shorter than the schedule's, and at most a fifth longer."""
    found = pause(attempts, FAILED, chance)

    assert found is not None
    assert PAUSES[attempts - 1] <= found <= PAUSES[attempts - 1] * 1.2


@pytest.mark.parametrize(
    ("asked", "attempts", "expected"),
    [
        (timedelta(seconds=90), 1, timedelta(seconds=90)),
        (timedelta(seconds=90), 3, timedelta(minutes=30)),
        (timedelta(days=30), 1, timedelta(hours=24)),
    ],
    ids=["longer", "shorter", "too long"],
)
def test_retry_after(asked: timedelta, attempts: int, expected: timedelta) -> None:
    """A receiver that asks for more time gets it, up to a day; one that asks for less does not."""
    assert expected == pause(attempts, FAILED._replace(retry_after=asked), 0.0)


def test_final() -> None:
    """What the receiver never wants is given up at once."""
    assert pause(1, FAILED._replace(is_final=True), 0.0) is None

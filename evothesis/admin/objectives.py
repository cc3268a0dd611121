"""Objectives: what processes counted in the last hour in, how much of what the product promises was kept out."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import deque
from typing import Literal

import msgspec

from evothesis.numbers import ACKNOWLEDGED, LOAD, LOADED, REQUESTS, Board, place, places

LOOKS = 60
LOOK_SECONDS = 60.0

TAKEN_SHARE, DELIVERED_SHARE = 0.999, 0.995
DURABLE_SECONDS, DURABLE_SHARE = 0.1, 0.99
LOAD_MILLISECONDS, LOAD_EVENTS = 10.0, 10

DELIVERIES = """
select count(*) filter (where state = 'published') as delivered, coalesce(sum(attempts), 0)::bigint as failed
  from deliveries where destination = any(%(names)s)
"""


class Objective(msgspec.Struct):
    """A promise: `is_met` and `actual` are null while there is nothing to judge by."""

    name: Literal["requests_taken", "deliveries", "durable", "load"]
    text: str
    unit: Literal["share", "milliseconds"]
    target: float
    actual: float | None
    is_met: bool | None


class Objectives(msgspec.Struct):
    """Of so many seconds, but for deliveries, which are all that there were."""

    seconds: int
    objectives: list[Objective]


class History:
    """What was counted, looked at each minute of the last hour."""

    def __init__(self, board: Board) -> None:
        """The first look is now."""
        self._board = board
        self._looks: deque[tuple[float, list[float]]] = deque([(time.monotonic(), board.total())], maxlen=LOOKS + 1)

    async def keep(self) -> None:
        """Look each minute, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._looks.append((time.monotonic(), self._board.total()))

    def counted(self) -> tuple[float, list[float]]:
        """For how many seconds, and what was counted in them, by place."""
        began, before = self._looks[0]
        # collectors that run elsewhere begin at 0 again when they are started
        grown = [max(0.0, now - then) for now, then in zip(self._board.total(), before, strict=True)]
        return time.monotonic() - began, grown


def judged(counted: list[float], *, delivered: int, failed: int) -> list[Objective]:
    """The objectives, by what was counted."""
    requests = sum(counted[place(REQUESTS, status)] for status in REQUESTS.values)
    taken = requests - counted[place(REQUESTS, "503")]
    first, bounds, total = places(ACKNOWLEDGED)
    in_time = sum(counted[first : first + bisect_left(bounds, DURABLE_SECONDS) + 1])
    loaded = sum(counted[place(LOADED, outcome)] for outcome in LOADED.values)
    loads = places(LOAD)
    # a segment of fewer events is a batch, too: what each of them costs would be no promise to a quiet site
    batches = max(loaded / LOAD_EVENTS, sum(counted[loads.first : loads.sum]))
    milliseconds = counted[loads.sum] * 1_000 / batches if batches else None
    return [
        _share("requests_taken", "of requests with events are taken", TAKEN_SHARE, taken, requests),
        _share("deliveries", "of attempts to deliver a file succeed", DELIVERED_SHARE, delivered, delivered + failed),
        _share("durable", "of requests are on disk within 100 ms", DURABLE_SHARE, in_time, sum(counted[first:total])),
        Objective(
            "load",
            "to load a batch of ten events",
            "milliseconds",
            LOAD_MILLISECONDS,
            milliseconds,
            milliseconds < LOAD_MILLISECONDS if milliseconds is not None else None,
        ),
    ]


def _share(
    name: Literal["requests_taken", "deliveries", "durable"], text: str, target: float, part: float, whole: float
) -> Objective:
    actual = part / whole if whole else None
    return Objective(name, text, "share", target, actual, actual > target if actual is not None else None)

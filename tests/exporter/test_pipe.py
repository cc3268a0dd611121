"""Pipe: neither side waits for one that has gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from evothesis.errors import DeliveryError
from evothesis.exporter.pipe import FRAMES_AHEAD, Pipe

FRAMES = [pl.DataFrame({"n": [number]}) for number in range(FRAMES_AHEAD + 5)]


def test_all_of_it() -> None:
    """What is put in comes out in its order, though there is not room for all of it."""
    pipe = Pipe()
    with ThreadPoolExecutor(1) as executor:
        found = executor.submit(list, pipe)
        taken = [pipe.put(frame) for frame in FRAMES]
        pipe.end()

    assert [True] * len(FRAMES) == taken
    assert [frame.item() for frame in FRAMES] == [frame.item() for frame in found.result()]


def test_writer_gone() -> None:
    """Who waits for room is told that nobody wants more."""
    pipe = Pipe()
    with ThreadPoolExecutor(1) as executor:
        taken = executor.submit(lambda: [pipe.put(frame) for frame in FRAMES])
        next(iter(pipe))
        pipe.end()

    assert not taken.result()[-1]


def test_reader_gone() -> None:
    """What was put in before an error comes out before it."""
    pipe = Pipe()
    pipe.put(FRAMES[0])
    pipe.end(DeliveryError("rows are missing"))
    pipe.end()
    frames = iter(pipe)

    assert FRAMES[0] is next(frames)
    with pytest.raises(DeliveryError, match="rows are missing"):
        next(frames)

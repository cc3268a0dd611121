"""Pipe: frames of one who reads in, frames for one who writes out, with few between them: memory does not grow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition

import polars as pl

from evothesis.errors import EvothesisError

FRAMES_AHEAD = 2


class Pipe:
    """Either side may end it: who writes when its disk is full, who reads at the end or with an error."""

    def __init__(self) -> None:
        """Nothing is in it."""
        self.error: EvothesisError | None = None
        self._frames: deque[pl.DataFrame] = deque()
        self._changed = Condition()
        self._is_over = False

    def put(self, frame: pl.DataFrame) -> bool:
        """Wait for room; False when nobody wants more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._frames) < FRAMES_AHEAD or self._is_over)
            if not self._is_over:
                self._frames.append(frame)
                self._changed.notify_all()
            return not self._is_over

    def end(self, error: EvothesisError | None = None) -> None:
        """Nothing follows; an error is raised where the frames are taken out."""
        with self._changed:
            self._is_over = True
            self.error = self.error or error
            self._changed.notify_all()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Each frame, waiting for it. Raises what the pipe was ended with."""
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> pl.DataFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._is_over)
            if self._frames:
                self._changed.notify_all()
                return self._frames.popleft()
            if self.error:
                raise self.error
            return None

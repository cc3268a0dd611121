"""Sampler: where this process spends its CPU, told by a signal that the kernel sends after each few milliseconds of it.

It costs next to nothing and does not slow functions down the more they are called, as a tracing profiler does. A sample
belongs to the innermost module of ours on the stack, so that a library's work counts for the step that asked for it.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import evothesis

INTERVAL_SECONDS = 0.001  # of CPU; the kernel rounds up to its tick
OURS = str(Path(evothesis.__file__).parent) + "/"


class Sampler:
    """Counts while it is entered; samples arrive in the main thread only."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.modules: Counter[str] = Counter()  # `collector/parse`, or `others`
        self.functions: Counter[str] = Counter()  # the innermost one, whoever wrote it
        self.total = 0

    def __enter__(self) -> Self:
        """Begin."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        self.total += 1
        if frame is None:
            return
        self.functions[_function(frame)] += 1
        inner: FrameType | None = frame
        while inner is not None:
            file = inner.f_code.co_filename
            if file.startswith(OURS):
                self.modules[file.removeprefix(OURS).removesuffix(".py")] += 1
                return
            inner = inner.f_back
        self.modules["others"] += 1


def _function(frame: FrameType) -> str:
    code = frame.f_code
    place = "/".join(code.co_filename.removesuffix(".py").rsplit("/", 2)[-2:])
    return f"{place}: {code.co_qualname}"

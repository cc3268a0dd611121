"""Steps: long work in, its result out, in pieces between which others go on."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar, cast

T = TypeVar("T")
Steps = Generator[None, None, T]


def completed(steps: Steps[T]) -> T:
    """All steps at once."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return cast(T, end.value)

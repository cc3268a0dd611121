"""Finding: what was looked at, how it is, what to do about it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """How something is."""

    OK = "ok"
    NOTE = "note"  # to be known; it passes by itself, or is a choice
    ACT = "act"  # a person is needed


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    state: State
    found: str
    todo: str = ""


def ok(subject: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(subject, State.OK, found)


def note(subject: str, found: str, todo: str = "") -> Finding:
    """Nobody is needed."""
    return Finding(subject, State.NOTE, found, todo)


def act(subject: str, found: str, todo: str) -> Finding:
    """A person is needed."""
    return Finding(subject, State.ACT, found, todo)

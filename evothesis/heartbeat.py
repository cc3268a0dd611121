"""Heartbeat: what the loader last saw, as a file in the spool, for collectors that know no database."""

from __future__ import annotations

from pathlib import Path

import msgspec

NAME = "loader.json"
STALE_AFTER_SECONDS = 10


class Heartbeat(msgspec.Struct, frozen=True):
    """`at` is Unix time; `waiting` counts sealed segments; errors are None when all is well.

    `spool_hint` says what to try about `spool_error`, where that is known.
    `sites_over_budget` had more events on this UTC day than [limits] says.
    """

    at: float
    waiting: int
    database_error: str | None = None
    spool_error: str | None = None
    sites_over_budget: tuple[str, ...] = ()
    spool_hint: str | None = None


def write(spool: Path, beat: Heartbeat) -> None:
    """Replace the file in one step. It is news, not a record: nothing is synced."""
    unfinished = spool / f"{NAME}.unfinished"
    unfinished.write_bytes(msgspec.json.encode(beat))
    unfinished.replace(spool / NAME)


def read(spool: Path) -> Heartbeat | None:
    """What was last written, None when there is nothing to be read."""
    try:
        return msgspec.json.decode((spool / NAME).read_bytes(), type=Heartbeat)
    except (OSError, msgspec.MsgspecError):
        return None

"""Segments: what waits in a spool, for those who read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OPEN = ".open"
SEALED = ".sealed"


class Segment(NamedTuple):
    """A segment file and what its name says."""

    writer: int
    segment_no: int
    path: Path
    size_bytes: int


def sealed(spool: Path) -> list[Segment]:
    """What waits for the loader, by writer and number."""
    return sorted(_segments(spool, SEALED))


def acknowledge(segment: Segment) -> None:
    """Remove a segment whose events are committed."""
    segment.path.unlink(missing_ok=True)


def waiting_bytes(spool: Path) -> int:
    """The size of all segments, open ones too."""
    return sum(segment.size_bytes for suffix in (OPEN, SEALED) for segment in _segments(spool, suffix))


def _segments(spool: Path, suffix: str) -> Iterator[Segment]:
    if not spool.is_dir():
        return
    for folder in spool.iterdir():
        if not folder.name.isdigit():
            continue
        for file in folder.iterdir():
            if file.suffix == suffix and file.stem.isdigit():
                try:
                    size = file.stat().st_size
                except FileNotFoundError:  # sealed or acknowledged between the listing and the look
                    continue
                yield Segment(int(folder.name), int(file.stem), file, size)

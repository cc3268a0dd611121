"""Segments: what lies in a spool, for those who read it.

A file's suffix is its state. What is loaded is kept for a while, by the hour in which it was received: a database that
is restored from an older backup fills itself up from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from evothesis.spool.frame import MAGIC, is_newer

OPEN = ".open"
SEALED = ".sealed"
LOADED = ".loaded"
DAMAGED = ".damaged"  # loaded too, with stretches that were not sound: kept for a person to look at
HOUR_FORMAT = "%Y%m%d%H"  # of the folders in KEPT
KEPT = "loaded"  # the folder of what is loaded, so that it is not listed again and again


class Segment(NamedTuple):
    """A segment file and what its name says."""

    writer: int
    segment_no: int
    path: Path
    size_bytes: int
    changed_at_nanoseconds: int  # Unix time; of a sealed segment, that of its last frame, of a kept one, of its load

    @property
    def received_at(self) -> datetime:
        """When its events were received, as well as its file can tell: a kept one lies in the folder of the hour."""
        if self.path.parent.parent.name == KEPT:
            return datetime.strptime(self.path.parent.name, HOUR_FORMAT).replace(tzinfo=UTC)
        return datetime.fromtimestamp(self.changed_at_nanoseconds / 1e9, UTC)


class Backlog(NamedTuple):
    """All segments that are not loaded: how many, their size, since when the oldest sealed one waits (Unix time)."""

    segments: int
    size_bytes: int
    waiting_since: float | None


class KeptHour(NamedTuple):
    """The loaded segments of one writer and one UTC hour (`YYYYMMDDHH`, which sorts by time)."""

    hour: str
    writer: int
    path: Path


def sealed(spool: Path) -> list[Segment]:
    """What waits for the loader, by writer and number."""
    return sorted(_segments(spool, {SEALED}))


def in_turn(segments: list[Segment]) -> Iterator[Segment]:
    """One segment of each writer in turn, so that no writer's backlog holds up the others."""
    by_writer: dict[int, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_writer[segment.writer].append(segment)
    for turn in zip_longest(*by_writer.values()):
        yield from (segment for segment in turn if segment is not None)


def backlog(spool: Path) -> Backlog:
    """What the database does not have yet, in open segments too."""
    segments = list(_segments(spool, {OPEN, SEALED}))
    times = (segment.changed_at_nanoseconds for segment in segments if segment.path.suffix == SEALED)
    oldest = min(times, default=None)
    return Backlog(len(segments), sum(segment.size_bytes for segment in segments), oldest / 1e9 if oldest else None)


def of_newer_version(spool: Path) -> list[Segment]:
    """What this version cannot load, by writer and number; one that is open too, whose collector was killed."""
    return sorted(segment for segment in _segments(spool, {OPEN, SEALED}) if _is_newer(segment.path))


def keep(segment: Segment, hour: datetime, *, is_damaged: bool, at_nanoseconds: int) -> Path:
    """Put a segment aside whose events are committed; its name tells when. Returns the folder.

    A file's time would tell it too, but only its owner may set that, and the loader may be another user.
    """
    folder = segment.path.parent / KEPT / f"{hour:{HOUR_FORMAT}}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o770)
    segment.path.rename(folder / f"{segment.path.stem}.{at_nanoseconds}{DAMAGED if is_damaged else LOADED}")
    return folder


def kept_hours(spool: Path) -> list[KeptHour]:
    """The folders of what is loaded, the oldest first."""
    return sorted(
        KeptHour(folder.name, int(folder.parent.parent.name), folder)
        for folder in spool.glob(f"[0-9]*/{KEPT}/[0-9]*")
        if folder.parent.parent.name.isdigit()
    )


def kept_segments(hour: KeptHour, first_no: int = 0) -> list[Segment]:
    """The loaded segments of an hour whose numbers are not below `first_no`, by number."""
    return sorted(_files(hour.path, hour.writer, {LOADED, DAMAGED}, first_no))


def _segments(spool: Path, suffixes: set[str]) -> Iterator[Segment]:
    for folder in _entries(spool):
        if folder.name.isdigit():
            yield from _files(folder, int(folder.name), suffixes)


def _files(folder: Path, writer: int, suffixes: set[str], first_no: int = 0) -> Iterator[Segment]:
    for file in _entries(folder):
        number, _, at_nanoseconds = file.stem.partition(".")
        if file.suffix in suffixes and number.isdigit() and int(number) >= first_no:
            try:
                status = file.stat()
            except FileNotFoundError:  # it changed its state between the listing and the look
                continue
            changed_at = int(at_nanoseconds) if at_nanoseconds.isdigit() else status.st_mtime_ns
            yield Segment(writer, int(number), file, status.st_size, changed_at)


def _is_newer(path: Path) -> bool:
    beginning = b""
    with suppress(FileNotFoundError), path.open("rb") as file:  # as above
        beginning = file.read(len(MAGIC))
    return is_newer(beginning)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:  # a spool before its first event, or whose disk is not mounted
        return []

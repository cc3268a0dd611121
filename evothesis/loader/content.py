"""Content: a sealed segment file in, its rows and what is wrong with it out."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from evothesis.errors import LoadError
from evothesis.event import Entry, Rejected, Row, decode_entry, enriched
from evothesis.spool.frame import VERSION_OLDER, Damage, Frame, decode, is_newer
from evothesis.spool.segments import Segment


class Content(NamedTuple):
    """What a segment holds, each row with its number in it."""

    sha256: bytes
    first: datetime
    last: datetime
    rows: list[tuple[int, Row]]
    rejected: list[tuple[int, Rejected]]
    withheld: dict[str, int]
    unlisted: int
    damage: list[Damage]

    @property
    def day(self) -> date:
        """The UTC day; a segment never spans two."""
        return self.first.date()


def read(segment: Segment) -> Content:
    """Check and unpack a segment file. Damaged stretches are left out and named.

    Raises LoadError for a segment or a sound frame that this version does not know, OSError when reading fails.
    """
    data = segment.path.read_bytes()
    if is_newer(data):
        message = f"{segment.path} was written by a newer version"
        raise LoadError(message, hint="upgrade evothesis again, and it is loaded; nothing is lost meanwhile")
    parts = list(decode(data, segment_no=segment.segment_no))
    entries = [(part.first_row, _entry(segment, part)) for part in parts if isinstance(part, Frame)]
    # a segment with no sound frame still has its number, and its hour
    moments = [entry.received_at for _, entry in entries] or [segment.received_at]
    withheld: Counter[str] = Counter()
    for _, entry in entries:
        if entry.withheld:
            withheld.update(entry.withheld)
    return Content(
        # of the sound frames: bytes that never counted may be gone after a crash
        sha256=hashlib.sha256(b"".join(part.payload for part in parts if isinstance(part, Frame))).digest(),
        first=min(moments),
        last=max(moments),
        rows=[(first + n, row) for first, entry in entries for n, row in enumerate(entry.rows)],
        rejected=[
            (first + n, row) for first, entry in entries for n, row in enumerate(entry.rejected, len(entry.rows))
        ],
        withheld=withheld,
        unlisted=sum(entry.unlisted for _, entry in entries),
        damage=[part for part in parts if isinstance(part, Damage)],
    )


def _entry(segment: Segment, frame: Frame) -> Entry:
    try:
        entry = decode_entry(frame.payload)
    except msgspec.MsgspecError as error:
        message = f"{segment.path} has a frame that this version cannot read: {error}"
        raise LoadError(
            message, hint="was it written by a newer version? upgrade evothesis again, and it is loaded"
        ) from error
    return enriched(entry) if frame.version == VERSION_OLDER else entry

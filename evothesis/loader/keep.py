"""Keep: loaded segments stay for a while, so that a database restored from an older backup fills itself up again."""

from __future__ import annotations

import logging
import os
import time
from collections import defaultdict
from datetime import datetime
from heapq import merge
from operator import attrgetter
from pathlib import Path

from evothesis import pg
from evothesis.spool.segments import KeptHour, Segment, keep, kept_hours, kept_segments

log = logging.getLogger(__name__)

FREE_SHARE_MIN, FREE_BYTES_MIN = 0.05, 256 * 2**20  # of the disk: kept segments are the first to make room
BLOCK_BYTES = 4096  # what a small file really takes
REMOVALS_MAX = 2_000  # at a time: new segments wait meanwhile

POSITIONS = "select writer, next_segment_no from writers"
EXPORTED = """
-- up to the first segment that some destination lacks, else all that was planned
select w.writer, coalesce(
         (select min(r.first_segment_no) - 1
            from deliveries d join export_ranges r using (export_id)
           where d.state <> 'published' and r.writer = w.writer),
         (select max(r.last_segment_no) from export_ranges r where r.writer = w.writer),
         -1) as exported_through
  from writers w
"""


def forgotten(connection: pg.Connection, spool: Path) -> list[Segment]:
    """Loaded segments that the database does not have, in the order in which they were loaded.

    The order decides which of two writers owns an event that both have received: in another one the same segments
    would have other rows than the files that were made of them.
    """
    positions = {row["writer"]: row["next_segment_no"] for row in connection.execute(POSITIONS).fetchall()}
    found: dict[int, list[Segment]] = defaultdict(list)
    for hour in kept_hours(spool):
        found[hour.writer] += kept_segments(hour, positions.get(hour.writer, 0))
    # a clock may have been set back: a writer's own order is that of its numbers
    return list(merge(*map(sorted, found.values()), key=attrgetter("changed_at_nanoseconds")))


class Keeper:
    """The loaded segments of a spool, within a budget of bytes."""

    def __init__(self, spool: Path, bytes_max: int) -> None:
        """The folders are looked at when they are asked for."""
        self._spool = spool
        self._bytes_max = bytes_max
        self._put_at = 0
        self._bytes: dict[Path, int] = {}  # by an hour's folder, until another segment is put there

    def put(self, segment: Segment, hour: datetime, *, is_damaged: bool) -> None:
        """Put a segment aside that was loaded just now; times never go back, so that they tell the order."""
        self._put_at = max(self._put_at + 1, time.time_ns())
        folder = keep(segment, hour, is_damaged=is_damaged, at_nanoseconds=self._put_at)
        self._bytes.pop(folder, None)

    def sweep(self, connection: pg.Connection | None) -> None:
        """Remove the oldest segments beyond the budget, and more when the disk has no room for new ones.

        Without a connection too: it may be for want of room that the database does not run.
        """
        hours = kept_hours(self._spool)
        sizes = {hour: self._size(hour) for hour in hours}
        excess = max(sum(sizes.values()) - self._bytes_max, self.bytes_wanted())
        removals = REMOVALS_MAX
        exported: dict[int, int] | None = None
        for hour in hours:
            if excess <= 0 or not removals:
                return
            if exported is None:
                exported = _exported(connection) if connection else {}
            segments = kept_segments(hour)
            if segments and segments[-1].segment_no > exported.get(hour.writer, -1):
                message = "Loaded segments removed before every destination had them."
                unknown = "Loaded segments removed without asking the database which were delivered."
                log.warning(message if connection else unknown, extra={"writer": hour.writer, "hour": hour.hour})
            for segment in segments[:removals]:
                segment.path.unlink()
            removals -= min(removals, len(segments))
            excess -= sizes[hour]
            self._bytes.pop(hour.path, None)
            if not any(hour.path.iterdir()):
                hour.path.rmdir()

    def bytes_wanted(self) -> int:
        """How much room the disk lacks; 0 or less when there is enough."""
        disk = os.statvfs(self._spool)
        wanted = min(FREE_BYTES_MIN, disk.f_blocks * disk.f_frsize * FREE_SHARE_MIN)
        return int(wanted) - disk.f_bavail * disk.f_frsize

    def _size(self, hour: KeptHour) -> int:
        if hour.path not in self._bytes:
            blocks = sum(-(-segment.size_bytes // BLOCK_BYTES) for segment in kept_segments(hour))
            self._bytes[hour.path] = blocks * BLOCK_BYTES
        return self._bytes[hour.path]


def _exported(connection: pg.Connection) -> dict[int, int]:
    """The last segment of each writer that every destination has, and all before it."""
    return {row["writer"]: row["exported_through"] for row in connection.execute(EXPORTED).fetchall()}

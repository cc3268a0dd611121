"""Plan: loads that no chunk holds in, chunks out. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Load(NamedTuple):
    """What the plan needs to know of a load."""

    writer: int
    segment_no: int
    hour: datetime
    accepted: int
    first_received_at: datetime
    last_received_at: datetime


class Range(NamedTuple):
    """Consecutive segments of one writer, both ends included."""

    writer: int
    first_segment_no: int
    last_segment_no: int


class Chunk(NamedTuple):
    """Whole loads of one UTC hour: the content of one file per format."""

    hour: datetime
    ranges: tuple[Range, ...]
    rows: int
    first_received_at: datetime
    last_received_at: datetime

    def key(self, instance: str) -> str:
        """A name that is a function of the plan: the same loads have the same name, other loads another one."""
        digest = hashlib.sha256(json.dumps(self.ranges).encode()).hexdigest()
        return f"{instance}-{self.hour:%Y%m%d%H}-{digest[:16]}"


def chunks(loads: Iterable[Load], *, rows_max: int) -> list[Chunk]:
    """Cut loads, given by writer and number, into chunks of one hour and at most `rows_max` rows, earlier ones first.

    A load is never split, so that a chunk of a single load may be larger. The chunks of an hour follow each other in
    time: each is read from a part of the day of its own, and readers skip files by the times in them.
    """
    planned: list[Chunk] = []
    by_hour: dict[datetime, list[Load]] = {}
    for load in loads:
        by_hour.setdefault(load.hour, []).append(load)
    for hour in sorted(by_hour):
        part: list[Load] = []
        rows = 0
        for load in sorted(by_hour[hour], key=_moment):
            if part and rows + load.accepted > rows_max:
                planned.append(_chunk(hour, part))
                part, rows = [], 0
            part.append(load)
            rows += load.accepted
        planned.append(_chunk(hour, part))
    return planned


def _moment(load: Load) -> datetime:
    return load.first_received_at


def _chunk(hour: datetime, loads: list[Load]) -> Chunk:
    ranges: list[Range] = []
    for load in sorted(loads):
        if ranges and ranges[-1].writer == load.writer and ranges[-1].last_segment_no + 1 == load.segment_no:
            ranges[-1] = ranges[-1]._replace(last_segment_no=load.segment_no)
        else:
            ranges.append(Range(load.writer, load.segment_no, load.segment_no))
    return Chunk(
        hour=hour,
        ranges=tuple(ranges),
        rows=sum(load.accepted for load in loads),
        first_received_at=min(load.first_received_at for load in loads),
        last_received_at=max(load.last_received_at for load in loads),
    )

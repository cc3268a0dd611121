"""Cursor: how far a reader of the stream is, for each writer: `writer:segment:idx,writer:segment:idx`."""

from __future__ import annotations

import re
from typing import NamedTuple

from evothesis.admin.query import QueryError

PATTERN = r"^\d{1,10}:\d{1,18}:(-1|\d{1,10})(,\d{1,10}:\d{1,18}:(-1|\d{1,10}))*$"


class Seen(NamedTuple):
    """All events of a writer up to this one; idx -1 is none of the segment."""

    segment_no: int
    idx: int


NOTHING = Seen(0, -1)
Cursor = dict[int, Seen]


def parse(text: str) -> Cursor:
    """Raises QueryError. Of a writer that it does not name nothing was seen."""
    if not re.fullmatch(PATTERN, text, re.ASCII):
        code, message = "since_invalid", "since: take it from `cursor` of a message"
        raise QueryError(code, message)
    found = {}
    for part in text.split(","):
        writer, segment_no, idx = map(int, part.split(":"))
        found[writer] = Seen(segment_no, idx)
    return found


def written(cursor: Cursor) -> str:
    """As it is parsed."""
    return ",".join(f"{writer}:{seen.segment_no}:{seen.idx}" for writer, seen in sorted(cursor.items()))

"""Cursor: how far a reader of the stream is, for each writer: `writer:segment:idx,writer:segment:idx`.

Where a reader has none yet, it may say a time instead, or how long ago: `2026-11-22T09:30Z`, `15m`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from evothesis.admin.query import QueryError

_PLACE = r"[0-9]{1,10}:[0-9]{1,18}:(-1|[0-9]{1,10})"
_AGO = r"[0-9]{1,4}[smhd]"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z"
PATTERN = rf"^({_PLACE}(,{_PLACE})*|{_AGO}|{_MOMENT})$"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Seen(NamedTuple):
    """All events of a writer up to this one; idx -1 is none of the segment."""

    segment_no: int
    idx: int


NOTHING = Seen(0, -1)
Cursor = dict[int, Seen]


def parse(text: str) -> Cursor:
    """Raises QueryError. Of a writer that it does not name nothing was seen."""
    if not re.fullmatch(rf"{_PLACE}(,{_PLACE})*", text):
        code, message = "since_invalid", "since: take it from `cursor` of a message"
        raise QueryError(code, message)
    found = {}
    for part in text.split(","):
        writer, segment_no, idx = map(int, part.split(":"))
        found[writer] = Seen(segment_no, idx)
    return found


def moment(text: str, now: datetime) -> datetime | None:
    """The time that is said, None for a cursor. Raises QueryError for one that no calendar has."""
    if re.fullmatch(_AGO, text):
        return now - timedelta(**{UNITS[text[-1]]: int(text[:-1])})
    if not re.fullmatch(_MOMENT, text):
        return None
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError as error:
        code, message = "since_invalid", "since: there is no such time"
        raise QueryError(code, message) from error


def written(cursor: Cursor) -> str:
    """As it is parsed."""
    return ",".join(f"{writer}:{seen.segment_no}:{seen.idx}" for writer, seen in sorted(cursor.items()))

"""Copy text: the lines that the collector writes, read back by the rules of PostgreSQL's manual.

https://www.postgresql.org/docs/current/sql-copy.html, "Text Format". Written without a look at the code under test.
"""

from __future__ import annotations

import json
import re
from typing import Any

from evothesis.collector.intake import Request, take
from evothesis.config import Privacy
from evothesis.event import COLUMNS

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MEANING = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def texts(line: bytes) -> list[str | None]:
    """The values of a line of COPY's text format."""
    assert b"\n" not in line
    assert b"\r" not in line
    values = []
    for field in line.split(b"\t"):
        value = _ESCAPE.sub(lambda escape: _MEANING.get(escape[1], escape[1]), field)
        values.append(None if field == rb"\N" else value.decode())
    return values


def columns(line: bytes) -> dict[str, Any]:
    """The columns of an event's line, `raw_event_data` as JSON."""
    values = dict(zip(COLUMNS, texts(line), strict=True))
    return values | {"raw_event_data": json.loads(values["raw_event_data"] or "")}


def stored(request: Request, settings: Privacy | None = None) -> list[dict[str, Any]]:
    """The columns of every event that is kept of a request."""
    taken = take(request, settings or Privacy(), salt=b"a salt of sixteen")
    assert [] == taken.answer["rejected"]
    return [columns(row.line) for row in taken.entry.rows]

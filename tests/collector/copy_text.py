"""Copy text: the lines that the collector writes, read back by the rules of PostgreSQL's manual.

https://www.postgresql.org/docs/current/sql-copy.html, "Text Format". Written without a look at the code under test.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.intake import Request, take
from evothesis.collector.policy import Policy
from evothesis.config import Enrichment, Privacy
from evothesis.event import COLUMNS, Json

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
SALT = b"a salt of sixteen"
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MEANING = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

Row = dict[str, Any]


def texts(line: bytes) -> list[str | None]:
    """The values of a line of COPY's text format."""
    assert b"\n" not in line
    assert b"\r" not in line
    values = []
    for field in line.split(b"\t"):
        value = _ESCAPE.sub(lambda escape: _MEANING.get(escape[1], escape[1]), field)
        values.append(None if field == rb"\N" else value.decode())
    return values


def columns(line: bytes) -> Row:
    """The columns of an event's line; `raw_event_data` as JSON, times as times, `is_bot` as a truth."""
    values = dict(zip(COLUMNS, texts(line), strict=True))
    times = {name: datetime.fromisoformat(values[name] or "") for name in ("timestamp", "created_at")}
    bot = {"t": True, "f": False}[values["is_bot"] or ""]
    return values | times | {"raw_event_data": json.loads(values["raw_event_data"] or ""), "is_bot": bot}


def request(document: Json | bytes, **fields: Any) -> Request:  # noqa: ANN401 - the fields of Request
    """A request at nine, with a JSON body, or with bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document, ensure_ascii=False).encode()
    return Request(AT, body, **fields)


def stored(
    document: Json | bytes,
    settings: Privacy | None = None,
    *,
    enrichment: Enrichment | None = None,
    **fields: Any,  # noqa: ANN401 - as above
) -> list[Row]:
    """The columns of every event of a request; none of them may be refused."""
    asked = request(document, **fields)
    taken = take(asked, Policy(settings, enrichment), salt=SALT)
    assert [] == taken.answer["rejected"]
    assert len(taken.entry.rows) == taken.answer["accepted"]
    return [columns(row.line) for row in taken.entry.rows]


def outcome(document: Json | bytes, **fields: Any) -> object:  # noqa: ANN401 - as above
    """What becomes of a request with one event: its JSON as stored, the code of its refusal, or status and code."""
    try:
        taken = take(request(document, **fields), Policy(), salt=SALT)
    except EnvelopeError as error:
        return error.status, error.code
    for refusal in taken.answer["rejected"]:
        return refusal["code"]
    (row,) = taken.entry.rows
    return columns(row.line)["raw_event_data"]

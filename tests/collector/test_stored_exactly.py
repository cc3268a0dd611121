"""Stored exactly: whatever is sent, PostgreSQL takes the lines that are made of it and gives back the same texts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from evothesis.appliance.postgres import Postgres
from evothesis.collector.decode import EnvelopeError
from evothesis.collector.intake import Request, Taken, take
from evothesis.collector.policy import Policy
from evothesis.event import COLUMNS, REJECTED_COLUMNS, Json

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PROFILE = settings(database=None, print_blob=True, deadline=None, max_examples=150)

# no digit, at, percent or equals sign: nothing here is personal data, so that texts come back as they were sent
CALM = st.characters(codec="utf-8", exclude_characters="0123456789@%=")
TEXT = st.text(CALM, max_size=20) | st.sampled_from(
    ["\\N", "\\.", "\\", "\t", "\n", "\r\n", "\0", '"', "''", "{}", "\\t"]
)
# of the numbers that have as many digits as a card's, some are one: a rule's business, not this test's
NUMBER = (st.integers() | st.floats(allow_nan=False, allow_infinity=False)).filter(lambda n: not 1e11 <= abs(n) < 1e20)
LEAF = st.none() | st.booleans() | NUMBER | TEXT
# of the names that are words some tell that their value goes
NAME = TEXT.filter(lambda text: not any(map(str.isalpha, text)))
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4))
COLUMN_OF = {"sessionId": "session_id", "visitorId": "visitor_id", "url": "url", "path": "path"}
KNOWN = {
    "eventType": TEXT.filter(lambda text: text not in ("", "batch")),
    "siteId": TEXT.filter(bool),
}
OPTIONAL: dict[str, st.SearchStrategy[Json]] = dict.fromkeys(COLUMN_OF, st.none() | TEXT) | {
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(8999, 1, 1)).map(lambda moment: moment.isoformat() + "Z"),  # noqa: DTZ001 - the zone is added as text
    "data": VALUE,
    "more\0 \\ \t": VALUE,
}
EVENT = st.fixed_dictionaries(KNOWN, optional=OPTIONAL)
ANYTHING = st.recursive(
    LEAF | st.text(max_size=60),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KNOWN, *OPTIONAL, "events", "eventId"]) | TEXT, inner, max_size=8)
        | st.fixed_dictionaries({"eventType": st.just("batch"), "events": st.lists(inner, max_size=4)})
    ),
)

BODIES = (
    b'{"eventType":"click","siteId":"s","url":"/a","data":{"a":[1,"x"],"b":-2.5e1}}',
    b'{"eventType":"batch","siteId":"s","more":[1],"events":[{"eventType":"click","data":["x",1]},{"eventType":"b"}]}',
)
# pieces that mean something to JSON, to COPY or to jsonb, or nearly do
SOUP = (
    *(b"0", b"1", b"12345678901234567890", b".", b"e", b"E", b"-", b"+", b"1e400", b"e9999", b"NaN", b"null", b"true"),
    *(b'"', b'""', b",", b":", b"[", b"]", b"{", b"}", b"\\", b"\\n", b"\\N", b"\\.", b"\\/", b"\\x"),
    *(rb"\u0000", rb"\ud800", rb"\uDC00", rb"\ud83d\ude00", rb"\u00", b"\0", b"\x01", b"\t", b"\n", b"\r", b"\x7f"),
    *(b" ", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"@b.com", b"batch"),
)


@pytest.fixture(scope="module")
def connection(postgres: Postgres) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection with empty tables of its own that have the columns of the real ones."""
    with psycopg.connect(postgres.url, row_factory=dict_row) as connection:
        for name, model in (("kept", "events_log"), ("refused", "rejected_events")):
            table = sql.Identifier(name)
            model_table = sql.Identifier(model)
            connection.execute(sql.SQL("create temp table {} (like {} including defaults)").format(table, model_table))
            place = sql.SQL("alter table {} alter writer set default 0, alter segment_no set default 0").format(table)
            connection.execute(place)
        connection.commit()
        yield connection


def copy(connection: psycopg.Connection[dict[str, Any]], taken: Taken) -> None:
    """Store what is kept of a request, as the loader does: the lines as they are."""
    entry = taken.entry
    for table, names, lines in (
        ("kept", COLUMNS, [row.line for row in entry.rows]),
        ("refused", REJECTED_COLUMNS, [refused.line for refused in entry.rejected]),
    ):
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        query = sql.SQL("copy {} (idx, {}) from stdin").format(sql.Identifier(table), columns)
        with connection.cursor() as cursor, cursor.copy(query) as stream:
            stream.write(b"".join(b"%d\t%b\n" % (idx, line) for idx, line in enumerate(lines)))


def without_nul(value: Json) -> Json:
    """What is stored of a value: all but NUL, which PostgreSQL cannot hold."""
    return json.loads(json.dumps(value).replace("\\u0000", "\\ufffd"))


def expected(event: dict[str, Any]) -> dict[str, Json]:
    """The columns that an event's members must be found in."""
    said = without_nul(event)
    url = said.get("url")
    return {
        "event_type": said["eventType"],
        "site_id": said["siteId"],
        "session_id": said.get("sessionId"),
        "visitor_id": said.get("visitorId"),
        "url": url,
        "path": said.get("path") if said.get("path") is not None or not url else None,
        "timestamp": datetime.fromisoformat(said["timestamp"]) if "timestamp" in said else AT,
    }


@PROFILE
@given(events=st.lists(EVENT, min_size=1, max_size=3), escaped=st.booleans(), agent=st.none() | TEXT)
def test_texts_come_back(
    connection: psycopg.Connection[dict[str, Any]], *, events: list[dict[str, Any]], escaped: bool, agent: str | None
) -> None:
    """Each text, time and JSON value of an event is in its column exactly as it was sent."""
    body = json.dumps({"eventType": "batch", "events": events}, ensure_ascii=escaped).encode()
    agent = agent.replace("\0", "") if agent else agent
    taken = take(Request(AT, body, user_agent=agent, peer="192.0.2.1"), Policy(), salt=b"")
    assert [] == taken.answer["rejected"]

    with connection.transaction(force_rollback=True):
        copy(connection, taken)
        rows = connection.execute("select * from kept order by idx").fetchall()
        equal = [
            connection.execute("select %s::jsonb = %s::jsonb as equal", (json.dumps(row), json.dumps(sent))).fetchone()
            for row, sent in zip((row["raw_event_data"] for row in rows), map(without_nul, events), strict=True)
        ]

    wanted = [expected(event) for event in events]
    for want, row in zip(wanted, rows, strict=True):
        if want["path"] is None and want["url"]:
            want["path"] = row["path"]  # of the address; test_parse says which
    assert wanted == [{name: row[name] for name in wanted[0]} for row in rows]
    assert [{"equal": True}] * len(events) == equal
    assert {(agent or None, "192.0.2.0")} == {(row["user_agent"], str(row["ip_address"])) for row in rows}


@PROFILE
@given(
    document=ANYTHING,
    zipped=st.booleans(),
    page=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_any_json(
    connection: psycopg.Connection[dict[str, Any]], *, document: Json, zipped: bool, page: str | None
) -> None:
    """Whatever JSON is sent, it is refused as a whole, or every event of it is stored or kept as refused."""
    body = json.dumps(document).encode()
    body, encoding = (gzip.compress(body), "gzip") if zipped else (body, "")
    try:
        taken = take(Request(AT, body, encoding=encoding, page=page), Policy(), salt=b"")
    except EnvelopeError:
        return

    sent = document["events"] if document.get("eventType") == "batch" else [document]
    assert len(sent) == len(taken.entry.rows) + len(taken.entry.rejected)
    assert (len(taken.entry.rows), len(taken.entry.rejected)) == (
        taken.answer["accepted"],
        len(taken.answer["rejected"]),
    )
    with connection.transaction(force_rollback=True):
        copy(connection, taken)
        counts = "select (select count(*) from kept) as kept, (select count(*) from refused) as refused"
        stored = connection.execute(counts).fetchone()
    assert {"kept": len(taken.entry.rows), "refused": len(taken.entry.rejected)} == stored


@PROFILE
@given(
    body=st.sampled_from(BODIES),
    place=st.integers(0, 200),
    replaced=st.integers(0, 4),
    soup=st.lists(st.sampled_from(SOUP), max_size=4).map(b"".join),
)
def test_any_text(
    connection: psycopg.Connection[dict[str, Any]], *, body: bytes, place: int, replaced: int, soup: bytes
) -> None:
    """Whatever stands in a body that is nearly JSON, it is refused, or PostgreSQL takes what is made of it."""
    place %= len(body)
    try:
        taken = take(Request(AT, body[:place] + soup + body[place + replaced :]), Policy(), salt=b"")
    except EnvelopeError:
        return

    with connection.transaction(force_rollback=True):
        copy(connection, taken)


@PROFILE
@given(st.binary(max_size=200), st.sampled_from(["", "gzip", "br"]))
def test_any_bytes(body: bytes, encoding: str) -> None:
    """Bytes that mean nothing are refused as a whole, never with another error."""
    with suppress(EnvelopeError):
        take(Request(AT, body, encoding=encoding), Policy(), salt=b"")

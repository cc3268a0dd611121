"""Event: its row in COPY text, its fingerprint, its derived id, and the entry that holds it."""

from __future__ import annotations

import json
import uuid

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evothesis import event
from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.event import Json, Row
from tests.collector.copy_text import AT, SALT, columns, request, texts

ID = "0193f5d07e1c7a4b9a530123456789ab"
CLICK: dict[str, Json] = {"eventType": "click", "siteId": "shop.example", "eventId": ID}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0@%=0123456789"), max_size=50)


def row(**members: Json) -> Row:
    """The row of a click with other members."""
    document = {name: value for name, value in (CLICK | members).items() if value is not ...}
    (made,) = take(request(document), Policy(), salt=SALT).entry.rows
    return made


def test_columns() -> None:
    """A row is a line of COPY text with a value for each column."""
    assert len(event.COLUMNS) == len(texts(row().line))
    assert len(event.COLUMNS) == len(set(event.COLUMNS))


def test_null_and_its_spelling() -> None:
    r"""What is absent is NULL; a text that reads \N, and an empty one, stay texts."""
    stored = columns(row(sessionId=None, visitorId="", url="\\N", path="N").line)

    assert [None, "", "\\N", "N"] == [stored[name] for name in ("session_id", "visitor_id", "url", "path")]


@pytest.mark.parametrize(
    "text",
    ["a\tb", "a\nb", "a\r\nb", "\\", "\\\\", "a\\", "\\t", "\\.", "\\N\\N", "\x01\x0b\x1b", "\u2028", "a\u202eb", "😀"],
)
def test_text_unchanged(text: str) -> None:
    """A text that means something to COPY comes back as it was, and leaves its neighbours alone."""
    stored = columns(row(sessionId=text, visitorId=None, path=text, data=text).line)

    assert (text, None, text) == (stored["session_id"], stored["visitor_id"], stored["path"])
    assert text == stored["raw_event_data"]["data"]


@settings(database=None, print_blob=True, deadline=None)
@given(st.tuples(*[st.none() | TEXT] * 4))
def test_any_texts_unchanged(values: tuple[str | None, ...]) -> None:
    """Whatever the texts are, each one comes back in its own column."""
    session_id, visitor_id, url, path = values
    stored = columns(row(sessionId=session_id, visitorId=visitor_id, url=url, path=path or "/").line)

    assert [session_id, visitor_id, url, path or "/"] == [
        stored[name] for name in ("session_id", "visitor_id", "url", "path")
    ]


def test_key() -> None:
    """A row's key is its event's id as 32 digits, however the id was written."""
    assert ID == row().key == row(eventId=str(uuid.UUID(ID))).key == row(eventId=ID.upper()).key


def test_fingerprint() -> None:
    """A fingerprint is of the site and the content, and fits a bigint."""
    fingerprint = row().fingerprint

    assert fingerprint == row().fingerprint
    assert fingerprint != row(siteId="other.example").fingerprint
    assert fingerprint != row(n=1).fingerprint
    assert -(2**63) <= fingerprint < 2**63


def test_size() -> None:
    """The size of an event is that of its JSON in bytes, not in characters."""
    document = CLICK | {"data": "ä😀"}

    assert len(json.dumps(document, ensure_ascii=False).encode()) == row(data="ä😀").size_bytes


def test_derived_id() -> None:
    """An id that is derived is the same for the same content, and another one for anything else."""
    derived = row(eventId=...).key

    assert derived == row(eventId=...).key
    assert 4 == len({derived, row(eventId=..., n=1).key, row(eventId=..., siteId="s").key, row().key})


def test_derived_id_is_uuid() -> None:
    """A derived id is a UUID of RFC 9562's version 8."""
    derived = uuid.UUID(row(eventId=...).key)

    assert (8, uuid.RFC_4122) == (derived.version, derived.variant)


def test_rejected_row() -> None:
    """A refused event is a line of its five columns; without a site that one is NULL."""
    refused = event.rejected_row(
        created_at="2026-11-22T09:00:01+00:00", site_id=None, code="site_missing", message="a\tb", event='{"a":"\\n"}'
    )

    assert ["2026-11-22T09:00:01+00:00", None, "site_missing", "a\tb", '{"a":"\\n"}'] == texts(refused.line)
    assert len(event.REJECTED_COLUMNS) == len(texts(refused.line))


def test_entry_of_an_older_version() -> None:
    """A frame that was written before unlisted events were counted has none."""
    before = msgspec.msgpack.encode([AT, [], [], {"shop.example": 2}])

    assert event.Entry(AT, [], [], {"shop.example": 2}, 0) == event.decode_entry(before)


def test_entry_survives_the_spool() -> None:
    """What is written into a frame is what is read from it."""
    batch = {"eventType": "batch", "siteId": "ä😀", "events": [{"eventType": "a"}, 7, {"eventType": "b", "n": "\t"}]}
    entry = take(request(batch), Policy(), salt=SALT).entry

    assert (2, 1, AT) == (len(entry.rows), len(entry.rejected), entry.received_at)
    assert entry == event.decode_entry(event.encode_entry(entry))
    withheld = take(request(batch, refuses=True), Policy(), salt=SALT).entry
    assert withheld == event.decode_entry(event.encode_entry(withheld))

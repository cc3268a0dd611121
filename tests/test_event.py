"""Event: its row in COPY text, its fingerprint, its derived id, and the entry that holds it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evothesis import event
from evothesis.event import Entry, Event, Row
from tests.collector.copy_text import texts

AT = datetime(2026, 11, 22, 9, 0, 0, 123_000, tzinfo=UTC)
ID = "0193f5d0-7e1c-7a4b-9a53-0123456789ab"
CLICK = Event(
    event_id=ID,
    event_type="click",
    session_id="s1",
    visitor_id="v1",
    site_id="shop.example",
    timestamp=AT,
    url="https://shop.example/a",
    path="/a",
    raw={"eventType": "click"},
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def row(changed: Event = CLICK, raw: bytes = b'{"eventType":"click"}') -> Row:
    """The row of an event that came from one client at one moment."""
    return event.row(
        changed, raw, created_at="2026-11-22T09:00:01+00:00", user_agent="Mozilla/5.0", ip_address="192.0.2.0"
    )


def change(**fields: object) -> Event:
    """The click, with other values."""
    return msgspec.structs.replace(CLICK, **fields)


def test_row() -> None:
    """A row is a line of COPY text, its columns in their order."""
    expected = [
        "2026-11-22T09:00:01+00:00",
        ID,
        "click",
        "s1",
        "v1",
        "shop.example",
        "2026-11-22T09:00:00.123000+00:00",
        "https://shop.example/a",
        "/a",
        "Mozilla/5.0",
        "192.0.2.0",
        '{"eventType":"click"}',
    ]

    assert "\t".join(expected).encode() == row().line
    assert len(event.COLUMNS) == len(expected)


def test_null_and_its_spelling() -> None:
    r"""What is absent is NULL; a text that reads \N, and an empty one, stay texts."""
    values = texts(row(change(session_id=None, visitor_id="", url="\\N", path="N")).line)

    assert [None, "", "\\N", "N"] == [values[place] for place in (3, 4, 7, 8)]


@pytest.mark.parametrize(
    "text",
    ["a\tb", "a\nb", "a\r\nb", "\\", "\\\\", "a\\", "\\t", "\\.", "\\N\\N", "\x01\x0b\x1b", "\u2028", "a\u202eb", "😀"],
)
def test_text_unchanged(text: str) -> None:
    """A text that means something to COPY comes back as it was, and leaves its neighbours alone."""
    values = texts(row(change(session_id=text, visitor_id=None, path=text)).line)

    assert [text, None, text] == [values[place] for place in (3, 4, 8)]


@settings(database=None, print_blob=True, deadline=None)
@given(st.tuples(TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT))
def test_any_texts_unchanged(values: tuple[str, str | None, str | None, str | None, str | None]) -> None:
    """Whatever the texts are, each one comes back in its own column."""
    event_type, session_id, visitor_id, url, path = values
    line = row(change(event_type=event_type, session_id=session_id, visitor_id=visitor_id, url=url, path=path)).line
    columns = texts(line)

    assert list(values) == [columns[place] for place in (2, 3, 4, 7, 8)]
    assert '{"eventType":"click"}' == columns[-1]


@pytest.mark.parametrize("raw", [rb'{"a":"x\ny"}', rb'{"a":"\\N"}', rb'{"a":"\"\t\\"}', '{"ä":"😀"}'.encode()])
def test_raw_unchanged(raw: bytes) -> None:
    """JSON with escapes comes back byte for byte."""
    assert raw.decode() == texts(row(raw=raw).line)[-1]


def test_key() -> None:
    """A row's key is its event's id as 32 digits, however the id was written."""
    assert "0193f5d07e1c7a4b9a530123456789ab" == row().key == row(change(event_id=ID.replace("-", ""))).key


def test_fingerprint() -> None:
    """A fingerprint is of the site and the content, and of nothing else; it fits a bigint."""
    fingerprint = row().fingerprint

    assert fingerprint == row(change(session_id="s2", timestamp=datetime(2000, 1, 1, tzinfo=UTC))).fingerprint
    assert fingerprint != row(change(site_id="other.example")).fingerprint
    assert fingerprint != row(raw=b'{"eventType":"click","n":1}').fingerprint
    assert -(2**63) <= fingerprint < 2**63


def test_size() -> None:
    """The size of an event is that of its JSON in bytes, not in characters."""
    raw = '{"a":"ä😀"}'.encode()

    assert len(raw) == row(raw=raw).size_bytes


def test_derived_id() -> None:
    """An id that is derived is the same for the same content and site, and another one for anything else."""
    derived = event.derived_id("shop.example", {"eventType": "click", "n": 1})

    assert derived == event.derived_id("shop.example", {"eventType": "click", "n": 1})
    assert derived != event.derived_id("shop.example", {"eventType": "click", "n": 2})
    assert derived != event.derived_id("other.example", {"eventType": "click", "n": 1})


def test_derived_id_is_uuid() -> None:
    """A derived id is a UUID of RFC 9562's version 8."""
    derived = uuid.UUID(event.derived_id("shop.example", {}))

    assert (8, uuid.RFC_4122) == (derived.version, derived.variant)


def test_rejected_row() -> None:
    """A refused event is a line of its five columns; without a site that one is NULL."""
    refused = event.rejected_row(
        created_at="2026-11-22T09:00:01+00:00", site_id=None, code="site_missing", message="a\tb", event='{"a":"\\n"}'
    )

    assert ["2026-11-22T09:00:01+00:00", None, "site_missing", "a\tb", '{"a":"\\n"}'] == texts(refused.line)
    assert len(event.REJECTED_COLUMNS) == len(texts(refused.line))


def test_entry_survives_the_spool() -> None:
    """What is written into a frame is what is read from it."""
    refused = event.rejected_row(created_at="", site_id="shop.example", code="c", message="m", event="e")
    entry = Entry(AT, [row(), row(change(site_id="ä😀"))], [refused], {"shop.example": 3})

    assert entry == event.decode_entry(event.encode_entry(entry))

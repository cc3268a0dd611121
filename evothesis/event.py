"""Event: the noun that every stage shares; its columns, and its row in PostgreSQL's COPY text format."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Any, cast

import msgspec

# what the collector knows; writer, segment_no and idx are put before it when the row is loaded
COLUMNS = (
    "created_at",
    "user_agent",
    "ip_address",
    "event_id",
    "event_type",
    "session_id",
    "visitor_id",
    "site_id",
    "timestamp",
    "url",
    "path",
    "raw_event_data",
    # of the request
    "is_bot",
    "bot_reason",
    "browser",
    "browser_version",
    "os",
    "device_type",
    "country",
    # of the event
    "referrer_type",
    "referrer_source",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "utm_id",
    "click_id_type",
)
REJECTED_COLUMNS = ("created_at", "site_id", "code", "message", "event")

Json = Any  # any JSON value

FALSE, TRUE = "f", "t"
NULL = "\\N"
# what a line lacks that was written before there was enrichment
_UNENRICHED = "\t".join((FALSE, *[NULL] * (len(COLUMNS) - COLUMNS.index("bot_reason")))).encode()
_TYPE = COLUMNS.index("event_type")
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"t": "\t", "n": "\n", "r": "\r"}
encode_json = msgspec.json.Encoder(decimal_format="number").encode


class Event(msgspec.Struct):
    """One event, ready to be stored: within limits, redacted, every text free of NUL and lone surrogates."""

    event_id: str  # 32 hexadecimal digits
    event_type: str
    session_id: str | None
    visitor_id: str | None
    site_id: str
    timestamp: str  # ISO 8601, UTC
    url: str | None
    path: str | None
    referrer: str | None  # "" says that there was none, None says nothing
    raw: bytes  # JSON without a raw line end or tab


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An accepted event on its way to the table."""

    line: bytes  # of COPY text, without writer, segment_no and idx
    key: str  # the event's id as 32 hexadecimal digits
    fingerprint: int  # of site and content, 64 bits, signed
    site_id: str
    size_bytes: int  # of the event as JSON
    is_bot: bool = False
    event_type: str = ""  # rows of an older version have it in their line alone


class Rejected(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A refused event on its way to `rejected_events`."""

    line: bytes
    site_id: str | None


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """What one request leaves behind: the payload of one frame."""

    received_at: datetime  # UTC
    rows: list[Row]
    rejected: list[Rejected]
    withheld: dict[str, int]  # site to number of events that were not stored because of DNT or GPC
    unlisted: int = 0  # number of events that were not stored because of their site


encode_entry = msgspec.msgpack.Encoder().encode
decode_entry = msgspec.msgpack.Decoder(Entry).decode


def shared_columns(*, created_at: str, user_agent: str | None, ip_address: str | None) -> bytes:
    """The columns that all events of a request share. `created_at` is the server's time as ISO 8601 in UTC."""
    return copy_text((created_at, user_agent, ip_address))


def row(event: Event, shared: bytes, enriched: bytes, *, is_bot: bool) -> Row:
    """Format an event; `enriched` are the columns from `is_bot` on."""
    texts = (
        event.event_id,
        event.event_type,
        event.session_id,
        event.visitor_id,
        event.site_id,
        event.timestamp,
        event.url,
        event.path,
    )
    # JSON has no tab and no line end outside of escapes; only the backslash means something to COPY
    raw = event.raw.replace(b"\\", b"\\\\")
    line = b"%s\t%s\t%s\t%s" % (shared, copy_text(texts), raw, enriched)
    digest = hashlib.sha256(b"%s\0%s" % (event.site_id.encode(), event.raw)).digest()
    fingerprint = int.from_bytes(digest[:8], "big", signed=True)
    return Row(line, event.event_id, fingerprint, event.site_id, len(event.raw), is_bot, event.event_type)


def enriched(entry: Entry) -> Entry:
    """An entry of the first version, which knew no enrichment, with lines that have a value for each column."""
    rows = [msgspec.structs.replace(row, line=b"%s\t%s" % (row.line, _UNENRICHED)) for row in entry.rows]
    return msgspec.structs.replace(entry, rows=rows)


def type_of(line: bytes) -> str:
    """The event's type, as a line of COPY text has it: for rows that do not say it beside their line."""
    text = line.split(b"\t", _TYPE + 1)[_TYPE].decode()
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), text)


def rejected_row(*, created_at: str, site_id: str | None, code: str, message: str, event: str) -> Rejected:
    """Format a refused event; `event` is what was sent, redacted and cut."""
    return Rejected(copy_text((created_at, site_id, code, message, event)), site_id)


def derived_id(raw: bytes, *said: str | int | None) -> str:
    """An id for an event that was sent without one: the same content, and what its batch said, gives the same id."""
    digest = bytearray(hashlib.sha256(encode_json(said) + raw).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8: a UUID of our own making, RFC 9562
    digest[8] = digest[8] & 0x3F | 0x80
    return digest.hex()


def copy_text(texts: tuple[str | None, ...]) -> bytes:
    """Texts as values of a line of COPY."""
    if None not in texts:
        told = cast("tuple[str, ...]", texts)  # a text: the type would be made anew for each event
        text = "".join(told)
        if "\\" not in text and "\t" not in text and "\n" not in text and "\r" not in text:
            return "\t".join(told).encode()
    return "\t".join([NULL if text is None else _escape(text) for text in texts]).encode()


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

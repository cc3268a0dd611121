"""Columns: what a delivered row has. The query, the three formats, the bucket's schema.json and the docs follow this.

A new column stands at the end, with the next schema version.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import polars as pl


class Kind(StrEnum):
    """What a column holds, as schema.json names it."""

    STRING = "string"
    ADDRESS = "address"
    JSON = "json"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    INT32 = "int32"
    INT64 = "int64"


class Column(NamedTuple):
    """A column of events_log, delivered since a schema version."""

    name: str
    kind: Kind
    meaning: str
    since: int = 1


COLUMNS = (
    Column("event_id", Kind.STRING, "UUID; chosen by the sender, else derived from the content"),
    Column("event_type", Kind.STRING, "`pageview`, `click`, …"),
    Column("session_id", Kind.STRING, "as the sender chose it"),
    Column("visitor_id", Kind.STRING, "as the sender chose it"),
    Column("site_id", Kind.STRING, "host name, unless the sender says otherwise"),
    Column("timestamp", Kind.TIMESTAMP, "the sender's clock"),
    Column("url", Kind.STRING, "cleaned of personal data"),
    Column("path", Kind.STRING, "cleaned of personal data"),
    Column("user_agent", Kind.STRING, "as sent"),
    Column("ip_address", Kind.ADDRESS, "truncated unless configured otherwise"),
    Column("raw_event_data", Kind.JSON, "the event as sent, after redaction"),
    Column("created_at", Kind.TIMESTAMP, "when the server received it"),
    Column("event_id_reused", Kind.BOOLEAN, "another event with other content has the same `event_id`"),
    Column("writer", Kind.INT64, "with `segment_no` and `idx` the row's identity, unique for ever"),
    Column("segment_no", Kind.INT64, "see `writer`"),
    Column("idx", Kind.INT32, "see `writer`"),
    Column("is_bot", Kind.BOOLEAN, "a crawler, a monitor or another program; kept, and not billed", since=2),
    Column("bot_reason", Kind.STRING, "what gave it away", since=2),
    Column("browser", Kind.STRING, "its name in uap-core's list", since=2),
    Column("browser_version", Kind.STRING, "the major one", since=2),
    Column("os", Kind.STRING, "the operating system's name in uap-core's list", since=2),
    Column("device_type", Kind.STRING, "`desktop`, `mobile`, `tablet`, `tv`, `console`, `bot`", since=2),
    Column("country", Kind.STRING, "of the client's address, ISO 3166-1 alpha-2", since=2),
    Column("referrer_type", Kind.STRING, "`search`, `social`, `ai`, `direct`, `internal`, `referral`, …", since=2),
    Column("referrer_source", Kind.STRING, "the engine or network, else the registered domain", since=2),
    Column("utm_source", Kind.STRING, "parameter of the page's address", since=2),
    Column("utm_medium", Kind.STRING, "parameter of the page's address", since=2),
    Column("utm_campaign", Kind.STRING, "parameter of the page's address", since=2),
    Column("utm_term", Kind.STRING, "parameter of the page's address", since=2),
    Column("utm_content", Kind.STRING, "parameter of the page's address", since=2),
    Column("utm_id", Kind.STRING, "parameter of the page's address", since=2),
    Column("click_id_type", Kind.STRING, "`gclid`, `fbclid`, `msclkid`, …: which click id the address had", since=2),
)
SCHEMA_VERSION = max(column.since for column in COLUMNS)
TEXTS = frozenset({Kind.STRING, Kind.ADDRESS, Kind.JSON})

TYPES: dict[Kind, pl.DataType] = {
    Kind.STRING: pl.String(),
    Kind.ADDRESS: pl.String(),
    Kind.JSON: pl.String(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
    Kind.INT32: pl.Int32(),
    Kind.INT64: pl.Int64(),
}


def columns(schema_version: int) -> list[Column]:
    """The columns that files of a schema version have, in their order."""
    return [column for column in COLUMNS if column.since <= schema_version]

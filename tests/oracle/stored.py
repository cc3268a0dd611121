"""Stored: a database or a bucket in, the events that it holds out, in a form in which they can be compared."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import psycopg

# the same content is looked at again after every fault of a long run
TEXTS_KEPT_MAX = 200_000
FILES_KEPT_MAX = 1_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

TABLE = """
select writer, segment_no, idx, event_id::text, event_type, session_id, visitor_id, site_id,
       (extract(epoch from timestamp) * 1000000)::bigint, url, path, raw_event_data::text,
       (extract(epoch from created_at) * 1000000)::bigint, user_agent, host(ip_address),
       is_bot, bot_reason, browser, browser_version, os, device_type, country, referrer_type, referrer_source,
       utm_source, utm_medium, utm_campaign, utm_term, utm_content, utm_id, click_id_type, event_id_reused
  from events_log
"""
FILE = """
select writer, segment_no, idx, event_id, event_type, session_id, visitor_id, site_id,
       epoch_us(timestamp), url, path, raw_event_data, epoch_us(created_at), user_agent, ip_address,
       is_bot, bot_reason, browser, browser_version, os, device_type, country, referrer_type, referrer_source,
       utm_source, utm_medium, utm_campaign, utm_term, utm_content, utm_id, click_id_type, event_id_reused
  from read_parquet(?)
"""


class Stored(NamedTuple):
    """One stored event."""

    place: tuple[int, int, int]  # writer, segment, row
    mark: str  # what the oracle put in to know it again; its place when there is none
    event_id: str
    columns: dict[str, Any]
    raw_sha256: str
    created_at: datetime
    others: tuple[Any, ...]  # what only has to be the same everywhere

    @property
    def segment(self) -> tuple[int, int]:
        """The load that it came in."""
        return self.place[:2]


def in_table(dsn: str) -> list[Stored]:
    """All events of a database."""
    with psycopg.connect(dsn, options="-c timezone=UTC") as connection:
        return [_stored(row) for row in connection.execute(TABLE)]


@lru_cache(FILES_KEPT_MAX)
def in_file(path: Path, sha256: str) -> tuple[Stored, ...]:  # noqa: ARG001 - tells a changed file from one that was read
    """All events of a Parquet file with that digest, read by another program than the one that wrote it."""
    with duckdb.connect() as connection:
        return tuple(_stored(row) for row in connection.execute(FILE, [str(path)]).fetchall())


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """The SHA-256 of a JSON value in one canonical form: sorted keys, no spaces, one spelling of each number."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """1.0, 1 and 1e0 are one number: JSON does not tell them apart, and PostgreSQL writes what it likes best."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


@lru_cache(TEXTS_KEPT_MAX)
def _content(text: str) -> tuple[str | None, str]:
    """The mark and the digest of an event's JSON."""
    raw = json.loads(text)
    return raw.get("mark"), digest(raw)


def _stored(row: tuple[Any, ...]) -> Stored:
    writer, segment_no, idx, event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, *rest = row
    text, created_at, *others = rest
    mark, raw_sha256 = _content(text)
    return Stored(
        place=(writer, segment_no, idx),
        mark=mark or str((writer, segment_no, idx)),
        event_id=event_id,
        columns={
            "eventType": event_type,
            "sessionId": session_id,
            "visitorId": visitor_id,
            "siteId": site_id,
            "timestamp": timestamp,
            "url": url,
            "path": path,
        },
        raw_sha256=raw_sha256,
        created_at=datetime.fromtimestamp(created_at // 1_000_000, UTC),
        others=(created_at, *others),
    )

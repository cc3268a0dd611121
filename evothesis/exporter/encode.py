"""Encode: a CSV file of rows in, the client's file and what it holds out. Pure but for the two files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import polars as pl

SCHEMA_VERSION = 2  # of the columns below; a change of names or types is a new number
ROW_GROUP_ROWS = 100_000  # query engines read groups side by side and skip them by their statistics
ZSTD_LEVEL = 3

COLUMNS: dict[str, type[pl.DataType]] = {
    "event_id": pl.String,
    "event_type": pl.String,
    "session_id": pl.String,
    "visitor_id": pl.String,
    "site_id": pl.String,
    "timestamp": pl.String,
    "url": pl.String,
    "path": pl.String,
    "user_agent": pl.String,
    "ip_address": pl.String,
    "raw_event_data": pl.String,
    "created_at": pl.String,
    "event_id_reused": pl.String,
    "writer": pl.Int64,
    "segment_no": pl.Int64,
    "idx": pl.Int32,
    "is_bot": pl.String,
    "bot_reason": pl.String,
    "browser": pl.String,
    "browser_version": pl.String,
    "os": pl.String,
    "device_type": pl.String,
    "country": pl.String,
    "referrer_type": pl.String,
    "referrer_source": pl.String,
    "utm_source": pl.String,
    "utm_medium": pl.String,
    "utm_campaign": pl.String,
    "utm_term": pl.String,
    "utm_content": pl.String,
    "utm_id": pl.String,
    "click_id_type": pl.String,
}
EXTENSIONS = {"parquet": "parquet"}


class Encoded(NamedTuple):
    """A file, ready to be delivered."""

    path: Path
    rows: int
    size_bytes: int
    sha256: bytes
    rows_by_site: dict[str, int]


def encode(rows: Path, target: Path) -> Encoded:
    """Write zstd Parquet: microseconds in UTC, `raw_event_data` as a JSON string."""
    moment = "%Y-%m-%d %H:%M:%S%.f%#z"
    frame = pl.scan_csv(rows, has_header=False, schema=COLUMNS).with_columns(
        pl.col("timestamp", "created_at").str.to_datetime(moment, time_unit="us", time_zone="UTC"),
        pl.col("event_id_reused", "is_bot") == "t",
    )
    frame.sink_parquet(target, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=ROW_GROUP_ROWS)
    sites = pl.scan_parquet(target).group_by("site_id").len().sort("site_id").collect()
    rows_by_site = dict(sites.iter_rows())
    return Encoded(
        path=target,
        rows=sum(rows_by_site.values()),
        size_bytes=target.stat().st_size,
        sha256=sha256_of(target),
        rows_by_site=rows_by_site,
    )


def sha256_of(path: Path) -> bytes:
    """The digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

"""Parquet: what a data engineer finds in a delivered file, with the tools that they have."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import COLUMNS, ENRICHED, HOUR, Row, delivered, events, in_order, listed

DUCKDB_TYPES = {
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Datetime("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}
ALL = "select * from read_parquet(?, hive_partitioning = false)"
TYPES = "select column_name, column_type from (describe select * from read_parquet(?, hive_partitioning = false))"
TEXTS = [
    None,
    "",
    " ",
    "plain",
    "NULL",
    "\\N",
    "\\.",
    '"',
    '""',
    '","',
    "a,b\tc;d",
    "line\nline\r\nline\rline\n",
    "\r",
    "\n",
    "ends with \\",
    "ä 中文 😀 \u2028 \u202e \ufeff",
    "\x01\x1b[31m\x7f",
    "=1+1",
    "x" * 30_000,
]


def only_file(exporting: Exporting) -> Path:
    """Export, and the one file that this delivered."""
    exporting.run()
    (key,) = listed(exporting.bucket.objects())
    return exporting.appliance.bucket / key


def duckdb_rows(query: str, path: object) -> list[tuple[Any, ...]]:
    """The answer of DuckDB about a file, with times in UTC."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(query, [str(path)]).fetchall()


def test_columns(exporting: Exporting) -> None:
    """A file has the contract's columns and types, for polars and for DuckDB."""
    exporting.database.load(events(3), segment_no=0)
    path = only_file(exporting)

    assert pl.Schema(COLUMNS) == pl.read_parquet_schema(path)
    described = duckdb_rows(TYPES, path)
    assert [(name, DUCKDB_TYPES[kind]) for name, kind in COLUMNS.items()] == described


def test_compression(exporting: Exporting) -> None:
    """Every column is compressed with zstd."""
    exporting.database.load(events(500), segment_no=0)
    path = only_file(exporting)

    assert [("ZSTD",)] == duckdb_rows("select distinct compression from parquet_metadata(?)", path)


def test_two_readers_agree(exporting: Exporting) -> None:
    """Two readers, polars and DuckDB, read the stored rows, in the order in which they were received."""
    exporting.database.load(events(200), writer=2, segment_no=0)
    exporting.database.load(events(200, seed=1), writer=1, segment_no=0)
    exporting.database.load(events(50, seed=2), writer=1, segment_no=1)
    path = only_file(exporting)
    by_duckdb = duckdb_rows(ALL, path)

    received = sorted(
        in_order(exporting.database.expected), key=itemgetter("created_at", "writer", "segment_no", "idx")
    )
    assert [tuple(row.values()) for row in received] == [
        tuple(
            json.loads(value) if name == "raw_event_data" else value for name, value in zip(COLUMNS, row, strict=True)
        )
        for row in by_duckdb
    ]
    assert by_duckdb == pl.read_parquet(path).rows()


def with_text(text: str | None) -> Row:
    """An event that has a text wherever it may have one."""
    (event,) = events(1)
    texts = dict.fromkeys(("session_id", "visitor_id", "url", "path", "user_agent", *ENRICHED), text)
    return event | texts | {"site_id": text or "s", "event_type": text or "t", "raw_event_data": {"a": [text]}}


def test_texts(exporting: Exporting) -> None:
    """Each text is delivered as it is stored; an empty one is not the same as none."""
    exporting.database.load([with_text(text) for text in TEXTS], segment_no=0)
    exporting.run()

    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())


def test_many_lines(exporting: Exporting) -> None:
    """Texts with line ends and quotes stay whole also in a file so large that it is read in pieces."""
    texts = ['a "quoted",\n"line"\r\n,', "\n\n\n", '"\n"', None, "", "x" * 4_000]
    for segment_no in range(3):
        rows = [with_text(texts[number % len(texts)]) for number in range(1_500)]
        exporting.database.load(rows, segment_no=segment_no, second=segment_no)
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "csv", "ndjson"]})
    exporting.run()
    objects = exporting.bucket.objects()

    for form in ("parquet", "csv", "ndjson"):
        assert in_order(exporting.database.expected) == in_order(delivered(objects, form)), form


@pytest.mark.parametrize(
    "value",
    [
        {"eventType": "t", "n": 123456789012345678901234567890},
        {"eventType": "t", "a": 'quote " backslash \\ tab \t line \n end', "ä": "😀"},
        {"eventType": "t", "deep": [[[{"a": {}}]], None, True, 1.5]},
    ],
    ids=["large number", "escapes", "nested"],
)
def test_raw_event_data(exporting: Exporting, value: dict[str, Any]) -> None:
    """The event as sent is a JSON text."""
    (event,) = events(1)
    exporting.database.load([event | {"raw_event_data": value}], segment_no=0)

    assert [value] == [json.loads(text) for text in pl.read_parquet(only_file(exporting))["raw_event_data"]]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 22, 9, 0, 0, 1, tzinfo=UTC),
        datetime(8999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    ids=str,
)
def test_timestamp(exporting: Exporting, moment: datetime) -> None:
    """A time of any visit is delivered to the microsecond."""
    (event,) = events(1)
    exporting.database.load([event | {"timestamp": moment}], segment_no=0)

    assert [moment] == pl.read_parquet(only_file(exporting))["timestamp"].to_list()


@pytest.mark.parametrize("address", [None, "192.0.2.0", "2001:db8::", "fd00:1:2:3:4:5:6:7"])
def test_address(exporting: Exporting, address: str | None) -> None:
    """An address is delivered as people write it, without a mask."""
    (event,) = events(1)
    exporting.database.load([event | {"ip_address": address}], segment_no=0)

    assert [address] == pl.read_parquet(only_file(exporting))["ip_address"].to_list()


def test_reused_id(exporting: Exporting) -> None:
    """An event whose id another one had is marked."""
    first, second = events(2)
    exporting.database.load([first, second | {"event_id": first["event_id"], "event_id_reused": True}], segment_no=0)

    assert [False, True] == pl.read_parquet(only_file(exporting))["event_id_reused"].to_list()


def test_place(exporting: Exporting) -> None:
    """A file lies in the folder of its UTC hour, which query engines take for columns."""
    exporting.database.load(events(3), segment_no=0, hour=HOUR + timedelta(hours=14))
    path = only_file(exporting)

    assert "events/dt=2026-11-22/hr=23" == str(path.parent.relative_to(exporting.appliance.bucket))
    query = "select count(*) from read_parquet(?, hive_partitioning = true) where dt = '2026-11-22' and hr = 23"
    assert [(3,)] == duckdb_rows(query, exporting.appliance.bucket / "events/**/*.parquet")

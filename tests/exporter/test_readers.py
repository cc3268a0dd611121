"""Readers: pyarrow, DuckDB, ClickHouse and Spark find every storable event in a bucket, exactly as it is stored."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from evothesis.appliance.postgres import Postgres
from tests.appliance import Appliance
from tests.exporter import readers, storable
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.readers import FORMS, Found
from tests.exporter.seam import COLUMNS, HOUR, Database, Row, listed
from tests.fix_postgres import new_database
from tests.fix_s3 import S3, Bucket

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROWS = 600
TYPES: dict[str, dict[object, set[str]]] = {
    "pyarrow": {
        pl.String: {"string", "large_string"},
        pl.Boolean: {"bool"},
        pl.Int64: {"int64"},
        pl.Int32: {"int32"},
        pl.Datetime("us", "UTC"): {"timestamp[us, tz=UTC]"},
    },
    "DuckDB": {
        pl.String: {"VARCHAR"},
        pl.Boolean: {"BOOLEAN"},
        pl.Int64: {"BIGINT"},
        pl.Int32: {"INTEGER"},
        pl.Datetime("us", "UTC"): {"TIMESTAMP WITH TIME ZONE"},
    },
    "ClickHouse": {
        pl.String: {"Nullable(String)", "String"},
        pl.Boolean: {"Nullable(Bool)", "Bool"},
        pl.Int64: {"Nullable(Int64)", "Int64"},
        pl.Int32: {"Nullable(Int32)", "Int32"},
        pl.Datetime("us", "UTC"): {"Nullable(DateTime64(6, 'UTC'))", "DateTime64(6, 'UTC')"},
    },
    "Spark": {
        pl.String: {"string"},
        pl.Boolean: {"boolean"},
        pl.Int64: {"bigint"},
        pl.Int32: {"int"},
        pl.Datetime("us", "UTC"): {"timestamp"},
    },
}


class Delivered(NamedTuple):
    """The same events in a folder and in a bucket, with objects beside them that no manifest lists."""

    folder: Path
    bucket: Bucket
    held: list[Row]


@pytest.fixture(scope="module")
def delivered(postgres: Postgres, s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    """Events of any content, of a writer that is new and of one whose numbers are nearly used up."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    rows = storable.rows(seed, ROWS)
    part = len(rows) // 4
    with new_database(postgres) as url:
        appliance = Appliance(tmp_path_factory.mktemp("readers"), {"database": {"url": url}})
        database = Database(url)
        exporting = Exporting(appliance, database)
        bucket = s3.new_bucket()
        exporting.deliver_to(LOCAL | {"formats": FORMS}, bucket.destination("second", formats=FORMS))
        database.load(rows[:part], writer=2**31 - 1, segment_no=0)
        assert {} == exporting.run().failed
        run = database.connection.execute
        run("update export_ranges set last_segment_no = %s", [2**63 - 3])
        database.load(rows[part : 2 * part], writer=2**31 - 1, segment_no=2**63 - 2, second=1)
        run("update events_log set idx = %s where segment_no > 0 and idx = %s", [2**31 - 1, part - 1])
        database.load(rows[2 * part : 3 * part], writer=1, segment_no=0, second=2)
        database.load(rows[3 * part :], writer=1, segment_no=1, hour=HOUR + timedelta(hours=1))
        assert {} == exporting.run().failed
        held = storable.held(database)
        database.connection.close()
    for key in listed(bucket.objects())[:3]:
        path, _, extension = key.partition(".")
        orphan = appliance.bucket / f"{path}-orphan.{extension}"
        shutil.copy2(appliance.bucket / key, orphan)
        bucket.put(f"{path}-orphan.{extension}", orphan.read_bytes())
    return Delivered(appliance.bucket, bucket, held)


@pytest.fixture(scope="module")
def ask(
    s3: S3, delivered: Delivered, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Found]]:
    """What a reader finds of a format; each is started once."""
    folder, bucket, _ = delivered
    credentials = s3.new_credentials(bucket, ["s3:GetObject", "s3:ListBucket"])
    prefix = f"{bucket.name}/some/prefix"
    with (
        readers.clickhouse(f"{bucket.endpoint}/{prefix}/", prefix, credentials) as clickhouse,
        readers.spark(tmp_path_factory.mktemp("spark")) as session,
    ):
        known: dict[str, Callable[[str], Found]] = {
            "pyarrow": lambda form: readers.by_pyarrow(folder, form),
            "DuckDB": lambda form: readers.by_duckdb(folder, form),
            "ClickHouse": clickhouse,
            "Spark": lambda form: readers.by_spark(session, folder, form),
        }
        yield cache(lambda reader, form: known[reader](form))


def exact(row: Row, fraction: Callable[[str], object] = str) -> Row:
    """A row whose JSON is compared digit by digit, and not by its spaces."""
    return {
        name: json.loads(value, parse_int=str, parse_float=fraction) if name == "raw_event_data" else value
        for name, value in row.items()
    }


def unmarked(row: Row) -> Row:
    """A row of CSV as docs/bucket.md says that it was."""
    return {name: value.removeprefix("'") if isinstance(value, str) else value for name, value in row.items()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", TYPES)
def test_every_value(ask: Callable[[str, str], Found], delivered: Delivered, reader: str, form: str) -> None:
    """A reader finds the stored rows and nothing else, with their types and values, in each format."""
    found = ask(reader, form)
    objects = {"raw_event_data"} if (reader, form) == ("pyarrow", "ndjson") else set()
    names = [name for name in COLUMNS if name not in objects]
    rows = [unmarked(row) if form == "csv" else row for row in found.rows]
    rows.sort(key=lambda row: (row["writer"], row["segment_no"], row["idx"]))
    kinds: dict[object, set[str]] = TYPES[reader]
    fraction: Callable[[str], object] = str
    if (reader, form) == ("DuckDB", "ndjson"):  # it has a type for JSON, in which fractions are doubles
        kinds, fraction = kinds | {pl.String: {"VARCHAR", "JSON"}}, float

    assert {} == {name: found.types[name] for name in names if found.types[name] not in kinds[COLUMNS[name]]}
    assert len(delivered.held) == len(rows)
    for stored, row in zip(delivered.held, rows, strict=True):
        assert exact({name: stored[name] for name in names}, fraction) == exact(
            {name: row[name] for name in names}, fraction
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", ["DuckDB", "ClickHouse", "Spark"])
def test_query_in_the_docs(ask: Callable[[str, str], Found], delivered: Delivered, reader: str, form: str) -> None:
    """The query of docs/bucket.md counts the events of each type that the manifests list."""
    marked = {"parquet": "", "ndjson": "", "csv": "'"}[form]
    counted: Counter[str] = Counter()  # of types that only a mark tells apart
    for kind, count in (ask(reader, form).counts or {}).items():
        counted[kind.removeprefix(marked)] += count

    assert Counter(row["event_type"] for row in delivered.held) == counted

"""Readers: what a data engineer's tools find in a bucket, each asked with the very text of docs/bucket.md.

A test is slow by design when it uses them: Spark alone takes half a minute to start. They are imported when they are
used, for `script/test --long` alone installs them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl

from tests.appliance import ROOT
from tests.exporter.seam import COLUMNS, Folder, Row, manifests

DOCUMENT = ROOT / "docs/bucket.md"
MOMENTS = [name for name, kind in COLUMNS.items() if isinstance(kind, pl.Datetime)]
INTEGERS = [name for name, kind in COLUMNS.items() if kind in {pl.Int64, pl.Int32}]
FORMS = ["parquet", "ndjson", "csv"]


class Found(NamedTuple):
    """What a reader says of all events of a format."""

    types: dict[str, str]  # of each column, in the reader's own words
    rows: list[Row]  # moments are microseconds since 1970
    counts: dict[str, int] | None  # of each event_type, as the query of the docs has it; None: the docs have none


def blocks(engine: str, language: str = "sql") -> list[str]:
    """What docs/bucket.md shows for an engine, piece by piece."""
    section = DOCUMENT.read_text().partition(f"\n## {engine}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, engine
    return found


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with something else in the place of each of these, which must be there."""
    for old, new in changes.items():
        assert old in text, (old, text)
        text = text.replace(old, new)
    return text


def by_pyarrow(bucket: Path, form: str) -> Found:
    """With pyarrow, which cannot read a column of NDJSON whose values are objects of any shape."""
    import pyarrow as pa
    from pyarrow import csv, parquet
    from pyarrow import json as ndjson

    fields = [(name, _arrow(kind)) for name, kind in COLUMNS.items()]
    nothing_is_null = csv.ConvertOptions(
        column_types=dict(fields), strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=False
    )
    any_text = csv.ParseOptions(newlines_in_values=True)
    without_objects = ndjson.ParseOptions(
        explicit_schema=pa.schema([field for field in fields if field[0] != "raw_event_data"]),
        unexpected_field_behavior="ignore",
    )
    large = 2**26  # neither reader takes a row that is larger than its block
    read: Callable[[Path], Any] = {
        "parquet": lambda path: parquet.read_table(path, partitioning=None),
        "csv": lambda path: csv.read_csv(path, csv.ReadOptions(block_size=large), any_text, nothing_is_null),
        "ndjson": lambda path: ndjson.read_json(path, ndjson.ReadOptions(block_size=large), without_objects),
    }[form]
    files = [file for manifest in manifests(Folder(bucket).objects()) for file in manifest["files"]]
    table = pa.concat_tables([read(bucket / file["key"]) for file in files if file["format"] == form])
    moments = {name: table[name].cast(pa.int64()) for name in MOMENTS}
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    return Found(types, pa.table({name: moments.get(name, table[name]) for name in types}).to_pylist(), None)


def _arrow(kind: object) -> Any:  # noqa: ANN401 - not everybody has the package
    import pyarrow as pa

    known: dict[object, Any] = {
        pl.Int64: pa.int64(),
        pl.Int32: pa.int32(),
        pl.Boolean: pa.bool_(),
        pl.String: pa.string(),
    }
    return pa.timestamp("us", "UTC") if isinstance(kind, pl.Datetime) else known[kind]


def by_duckdb(bucket: Path, form: str) -> Found:
    """With DuckDB, from a folder."""
    first, *others = blocks("DuckDB")
    listed, _, query = first.partition(";")
    query = dict(zip(FORMS, [query, *others], strict=True))[form].strip().rstrip(";")
    rows = changed(query, {"event_type, count(*)": ", ".join(COLUMNS), " group by all": ""})
    moments = ", ".join(f"epoch_us({name})" if name in MOMENTS else name for name in COLUMNS)
    with duckdb.connect() as connection:
        connection.execute(changed(listed, {"'bucket/": f"'{bucket}/", "'parquet'": f"'{form}'"}))
        counts = connection.execute(query).fetchall()
        types = connection.execute(f"select column_name, column_type from (describe {rows})").fetchall()  # noqa: S608 - our docs
        found = connection.execute(f"select {moments} from ({rows})").fetchall()  # noqa: S608 - our docs
    return Found(dict(types), [dict(zip(COLUMNS, row, strict=True)) for row in found], dict(counts))


@contextmanager
def clickhouse(url: str, name: str, credentials: Mapping[str, str]) -> Iterator[Any]:
    """ClickHouse in this process, which reads `url`, the address of a bucket's prefix that the bucket calls `name`."""
    from chdb.session import Session

    addresses = {"https://acme-events.s3.eu-central-1.amazonaws.com/web/": url, "'acme-events/web/'": f"'{name}/'"}
    kept = dict(os.environ)
    os.environ.update(credentials)
    session = Session()

    def ask(form: str) -> Found:
        first, second = (block.strip().rstrip(";").split(";\n") for block in blocks("ClickHouse"))
        settings = second[0]
        query = dict(zip(FORMS, [first[1], *second[1:]], strict=True))[form].replace(*next(iter(addresses.items())))
        if form != "parquet":
            session.query(settings)
        rows = changed(query, {"event_type, count()": ", ".join(COLUMNS), " group by event_type": ""})
        exact = [f"toUnixTimestamp64Micro({name})" if name in MOMENTS else name for name in COLUMNS]
        # JSON's numbers are too small for some
        texts = [
            f"toString({value})" if name in MOMENTS + INTEGERS else value
            for name, value in zip(COLUMNS, exact, strict=True)
        ]
        query_rows = f"select {', '.join(texts)} from ({rows})"  # noqa: S608 - our docs
        found = [dict(zip(COLUMNS, row, strict=True)) for row in lines(query_rows)]
        return Found(
            {name: kind for name, kind, *_ in lines(f"describe ({rows})")},
            [row | {name: int(row[name]) for name in MOMENTS + INTEGERS} for row in found],
            {kind: int(count) for kind, count in lines(query)},
        )

    def lines(query: str) -> list[list[Any]]:
        answer = session.query(query, "JSONCompactEachRow").bytes().decode()
        return [json.loads(line) for line in answer.split("\n") if line]

    try:
        session.query(changed(blocks("ClickHouse")[0].split(";\n")[0], addresses))
        yield ask
    finally:
        session.close()
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def spark(folder: Path) -> Iterator[Any]:
    """Spark on this machine alone; what it leaves lies in a folder."""
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession

    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()


def by_spark(session: Any, bucket: Path, form: str) -> Found:  # noqa: ANN401 - not everybody has the package
    """With Spark, from a folder."""
    names: dict[str, Any] = {"spark": session}
    for block in blocks("Spark", "python"):
        exec(changed(block, {"s3a://acme-events/web": str(bucket)}), names)  # noqa: S102 - of our own docs
    events = names["events" if form == "parquet" else f"from_{form}"]
    counts = events.groupBy("event_type").count().collect()
    exact = [f"unix_micros({name}) as {name}" if name in MOMENTS else name for name in COLUMNS]
    rows = [row.asDict() for row in events.selectExpr(*exact).collect()]
    return Found(dict(events.dtypes), rows, {row["event_type"]: row["count"] for row in counts})

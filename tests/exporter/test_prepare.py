"""Prepare: what a store can do is found out once; what its readers need to know lies beside the data."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import duckdb

from evothesis.exporter.columns import COLUMNS, SCHEMA_VERSION, TEXTS, Kind
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.readers import DOCUMENT, blocks
from tests.exporter.seam import HOUR, delivered, events, in_order, listed
from tests.exporter.test_manifest import check
from tests.exporter.test_status import status
from tests.exporter.wire import Exchange, Fault, wire
from tests.fix_rclone import Rclone
from tests.fix_s3 import Bucket


class RefusesConditions(Fault):
    """A store that does not know If-None-Match, and says so: Backblaze B2 answers NotImplemented."""

    def status(self, exchange: Exchange) -> int | None:
        """501 for what has the condition; the server behind it may act on it, and is not asked again."""
        return 501 if "if-none-match" in exchange.headers else exchange.status


def test_store_that_refuses_to_overwrite(exporting: Exporting, bucket: Bucket) -> None:
    """A store that keeps the condition is found out once, and believed from then on."""
    with wire(bucket.endpoint) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        for number in range(2):
            exporting.database.load(events(3, seed=number), segment_no=number)
            assert {} == exporting.run().failed
        paths = [exchange.path for exchange in passed.exchanges if exchange.method == "PUT"]

    assert status(exporting)["client"]["conditional"] is True
    assert 2 == len([path for path in paths if path.endswith("README.md")])
    assert 1 == len([path for path in paths if path.endswith("schema.json")])


def test_store_that_overwrites(exporting: Exporting, rclone: Rclone) -> None:
    """A store that ignores the condition is found out and named; objects are looked at before they are put."""
    with wire(rclone.endpoint) as passed:
        exporting.deliver_to(rclone.destination() | {"endpoint": passed.endpoint})
        exporting.database.load(events(5), segment_no=0)
        assert {} == exporting.run().failed
        begun = len(passed.exchanges)
        exporting.database.load(events(5, seed=1), segment_no=1, hour=HOUR + timedelta(hours=1))
        assert {} == exporting.run().failed
    objects = rclone.objects()
    (_, key) = listed(objects)
    name = key.rpartition("/")[2]

    assert status(exporting)["client"]["conditional"] is False
    assert "would overwrite" in exporting.appliance.cli("export", "status").stdout
    assert in_order(exporting.database.expected) == delivered(objects)
    check(objects)
    methods = [exchange.method for exchange in passed.exchanges[begun:] if exchange.path.endswith(name)]
    assert ["HEAD", "PUT", "HEAD"] == methods[:3]


def test_foreign_object_in_a_store_that_overwrites(exporting: Exporting, rclone: Rclone) -> None:
    """There, too, an object that somebody else put under our key stays as it is."""
    exporting.deliver_to(LOCAL)
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    (key,) = listed(exporting.bucket.objects())
    theirs = rclone.folder / "some/prefix" / key
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"not ours")
    exporting.deliver_to(rclone.destination("second"))
    failed = exporting.run().failed

    assert "exists with another content" in str(failed["second"])
    assert b"not ours" == rclone.objects()[key]


def test_store_that_knows_no_condition(exporting: Exporting, bucket: Bucket) -> None:
    """A store that answers 501 to the condition is asked without it."""
    with wire(bucket.endpoint, RefusesConditions()) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        exporting.database.load(events(5), segment_no=0)
        outcome = exporting.run()
    conditions = [exchange for exchange in passed.exchanges if "if-none-match" in exchange.headers]

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(bucket.objects())
    assert {True} == {exchange.path.endswith("README.md") for exchange in conditions}
    assert status(exporting)["client"]["conditional"] is False


def test_moved_destination(exporting: Exporting) -> None:
    """A destination that is configured to be elsewhere is looked at anew."""
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    exporting.database.connection.execute("update destinations set conditional = false")
    exporting.database.load(events(3, seed=1), segment_no=1)
    exporting.run()
    assert status(exporting)["client"]["conditional"] is False
    exporting.deliver_to(LOCAL | {"url": "file:var/moved"})
    exporting.database.load(events(3, seed=2), segment_no=2)
    exporting.run()

    assert status(exporting)["client"]["conditional"] is True


def test_guide(exporting: Exporting) -> None:
    """README.md says what to trust, schema.json has the columns; only a new schema version replaces them."""
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    first = exporting.bucket.objects()
    document = json.loads(first["schema.json"])

    assert "Read what the manifests list" in first["README.md"].decode()
    assert SCHEMA_VERSION == document["schema_version"]
    assert [column.name for column in COLUMNS] == [column["name"] for column in document["columns"]]
    for name in ("README.md", "schema.json"):
        (exporting.appliance.bucket / name).write_bytes(b"ours")
    exporting.database.load(events(3, seed=1), segment_no=1)
    exporting.run()
    kept = exporting.bucket.objects()
    exporting.database.connection.execute("update destinations set guide_version = 0")
    exporting.database.load(events(3, seed=2), segment_no=2)
    exporting.run()
    replaced = exporting.bucket.objects()

    assert {b"ours"} == {kept[name] for name in ("README.md", "schema.json")}
    assert [first[name] for name in ("README.md", "schema.json")] == [
        replaced[name] for name in ("README.md", "schema.json")
    ]


def test_columns_in_the_docs() -> None:
    """docs/bucket.md has the table of columns that the code has."""
    table = [f"| `{column.name}` | {column.kind} | {column.meaning} |" for column in COLUMNS]

    assert f"## Columns, schema version {SCHEMA_VERSION}\n" in DOCUMENT.read_text()
    assert "\n".join(table) in DOCUMENT.read_text()


def test_columns_in_a_file(exporting: Exporting) -> None:
    """schema.json tells the types that DuckDB finds."""
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    objects = exporting.bucket.objects()
    types: dict[Kind, str] = dict.fromkeys(TEXTS, "VARCHAR") | {
        Kind.BOOLEAN: "BOOLEAN",
        Kind.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
        Kind.INT32: "INTEGER",
        Kind.INT64: "BIGINT",
    }
    described = asked(
        exporting,
        "select column_name, column_type from (describe select * from read_parquet(?, hive_partitioning = false))",
        listed(objects)[0],
    )

    columns = json.loads(objects["schema.json"])["columns"]
    assert [(column["name"], types[Kind(column["kind"])]) for column in columns] == described


def asked(exporting: Exporting, query: str, key: str) -> list[tuple[Any, ...]]:
    """What DuckDB answers about a file."""
    with duckdb.connect() as connection:
        path = exporting.appliance.bucket / key
        return connection.execute(query, [str(path)]).fetchall()


def test_query_in_the_docs(exporting: Exporting) -> None:
    """The query for DuckDB that docs/bucket.md shows reads what the manifests list, and nothing else."""
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "csv"]})
    for number in range(2):
        exporting.database.load(events(20, seed=number, site=f"site.{number}"), segment_no=number)
        exporting.run()
    key = listed(exporting.bucket.objects())[0].replace(".csv.gz", ".parquet")
    orphan = exporting.appliance.bucket / key.replace(".parquet", "-orphan.parquet")
    orphan.write_bytes((exporting.appliance.bucket / key).read_bytes())
    block = blocks("DuckDB")[0]
    with duckdb.connect() as connection:
        found = connection.execute(block.replace("'bucket/", f"'{exporting.appliance.bucket}/")).fetchall()
    kinds = [row["event_type"] for row in exporting.database.expected]

    assert {kind: kinds.count(kind) for kind in set(kinds)} == dict(found)


def test_every_engine_in_the_docs() -> None:
    """The docs have a query for each of the engines that they promise, which reads what manifests list."""
    sections = re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    queries = {name: text for name, text in sections if "```sql" in text or "```python" in text}

    assert {"DuckDB", "Athena", "Snowflake", "BigQuery", "Redshift", "ClickHouse", "Spark"} == set(queries)
    assert [] == [name for name, text in queries.items() if "manifest" not in text or "files" not in text]

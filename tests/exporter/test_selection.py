"""Selections: a destination that wants a part gets exactly that, under totals, chains and retention of its own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from evothesis.exporter.manifest import hash_key, signing_key
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import COLUMNS, HOUR, Folder, Row, delivered, events, exported, in_order, listed, manifests
from tests.exporter.test_manifest import check
from tests.exporter.test_replay import replayed
from tests.exporter.test_retention import day, days

FORMATS = ["parquet", "csv", "ndjson"]
SITES = ("shop.example", "a.shop.example", "b.a.shop.example", "other.example")
SHOP = {"sites": ["shop.example", "*.shop.example"]}
HASHED = {"columns_hashed": ["visitor_id", "ip_address"], "columns_except": ["raw_event_data", "url"]}
READ = {
    "parquet": "select * from read_parquet(?, hive_partitioning = false)",
    "csv": "select * from read_csv(?, all_varchar = true, allow_quoted_nulls = false, hive_partitioning = false)",
    "ndjson": "select * from read_json(?, format = 'newline_delimited', hive_partitioning = false)",
}


def fill(exporting: Exporting, *segment_numbers: int, hour: datetime = HOUR, sites: tuple[str, ...] = SITES) -> None:
    """Loads with events of several sites."""
    for number in segment_numbers:
        rows = [row for site in sites for row in events(4, site=site, seed=number)]
        exporting.database.load(rows, segment_no=number, hour=hour, second=number)


def of_shop(row: Row) -> bool:
    """Whether SHOP selects an event."""
    return str(row["site_id"]).endswith("shop.example")


def wanted(exporting: Exporting, is_wanted: Callable[[Row], bool]) -> list[Row]:
    """What was stored and is wanted."""
    return in_order(filter(is_wanted, exporting.database.expected))


def read(folder: Path, form: str) -> list[dict[str, object]]:
    """The rows of the only file of a format, by a program that shares nothing with the one that wrote it."""
    (path,) = folder.rglob(f"events/**/*.{form}*")
    with duckdb.connect() as connection:
        found = connection.execute(READ[form], [str(path)])
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize(
    ("settings", "is_wanted"),
    [
        ({"sites": ["other.example"]}, lambda row: row["site_id"] == "other.example"),
        ({"sites": ["*.shop.example"]}, lambda row: row["site_id"] in SITES[1:3]),
        (SHOP, of_shop),
        ({"sites_except": SHOP["sites"]}, lambda row: not of_shop(row)),
        (SHOP | {"sites_except": ["a.shop.example"]}, lambda row: row["site_id"] in (SITES[0], SITES[2])),
        ({"event_types": ["click"]}, lambda row: row["event_type"] == "click"),
        (SHOP | {"event_types": ["click"]}, lambda row: of_shop(row) and row["event_type"] == "click"),
    ],
)
def test_rows(exporting: Exporting, settings: dict[str, Any], is_wanted: Callable[[Row], bool]) -> None:
    """A destination has the events that it wants, in all formats alike; its manifests count these, and no others."""
    exporting.deliver_to(LOCAL | settings | {"formats": FORMATS})
    fill(exporting, 0, 1)
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()
    rows = wanted(exporting, is_wanted)

    for form in FORMATS:
        assert rows == in_order(delivered(objects, form))
    (document,) = check(objects)
    assert {site: sum(row["site_id"] == site for row in rows) for site in sorted({row["site_id"] for row in rows})} == (
        document["rows_by_site"]
    )
    assert len(rows) == json.loads(objects["latest.json"])["totals"]["rows"]
    assert [settings] * 3 == [file["selection"] for file in document["files"]]
    report = exporting.verify()
    assert ([], len(rows)) == (report.problems, sum(total.rows for total in report.totals.values()))


@pytest.mark.parametrize("form", FORMATS)
def test_columns(exporting: Exporting, form: str) -> None:
    """Columns that are chosen stand in the chosen order, under their new names; schema.json says so."""
    chosen = {"columns": ["site_id", "created_at", "visitor_id", "is_bot"], "columns_renamed": {"site_id": "site"}}
    exporting.deliver_to(LOCAL | chosen | {"formats": [form]})
    fill(exporting, 0)
    exporting.run()
    rows = read(exporting.appliance.bucket, form)

    assert ["site", "created_at", "visitor_id", "is_bot"] == list(rows[0])
    assert [row["site_id"] for row in exporting.database.expected] == [row["site"] for row in rows]
    schema = json.loads(exporting.bucket.objects()["schema.json"])
    assert list(rows[0]) == [column["name"] for column in schema["columns"]]
    assert [] == exporting.verify().problems


@pytest.mark.parametrize("form", FORMATS)
def test_hashed(exporting: Exporting, form: str) -> None:
    """A hashed text tells the same from another and nothing else: HMAC of it, by what only the signing key tells."""
    exporting.deliver_to(LOCAL | HASHED | {"formats": [form]})
    fill(exporting, 0)
    exporting.run()
    key = hash_key(signing_key(exporting.appliance.folder / "var/signing.key"))

    def hashed(text: str | None) -> str | None:
        return None if text is None else hmac.digest(key, text.encode(), hashlib.sha256)[:16].hex()

    rows = read(exporting.appliance.bucket, form)
    assert [name for name in COLUMNS if name not in HASHED["columns_except"]] == list(rows[0])
    for name in HASHED["columns_hashed"]:
        assert [hashed(row[name]) for row in exporting.database.expected] == [row[name] for row in rows]
    assert [] == exporting.verify().problems


def test_hash_key(tmp_path: Path) -> None:
    """What columns are hashed with is not the signing key, and follows from it."""
    one, again, other = (signing_key(tmp_path / name) for name in ("one", "one", "other"))

    assert hash_key(one) == hash_key(again)
    assert hash_key(one) != hash_key(other)
    assert hash_key(one) != one.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def test_routed(exporting: Exporting) -> None:
    """A site that has a destination of its own is there and not elsewhere: each event is in one of the two."""
    elsewhere = LOCAL | SHOP | {"name": "elsewhere", "url": "file:var/elsewhere"}
    exporting.deliver_to(LOCAL | {"sites_except": SHOP["sites"]}, elsewhere)
    fill(exporting, 0, 1)
    outcome = exporting.run()
    theirs = delivered(Folder(exporting.appliance.folder / "var/elsewhere").objects())
    rest = delivered(exporting.bucket.objects())

    assert [("client", 8), ("elsewhere", 24)] == [(line.destination, line.rows) for line in outcome.published]
    assert wanted(exporting, of_shop) == theirs
    assert in_order(exporting.database.expected) == in_order([*theirs, *rest])


def test_nothing_selected(exporting: Exporting) -> None:
    """An hour of which nothing is wanted has no file, its loads are covered all the same, and the day may go."""
    exporting.deliver_to(LOCAL | {"sites": ["nowhere.example"], "formats": FORMATS})
    fill(exporting, 0, hour=day(91))
    fill(exporting, 1, hour=datetime.now(UTC).replace(minute=0, second=0, microsecond=0))
    first, second = exporting.run(), exporting.run()
    objects = exporting.bucket.objects()

    assert [(0, 0)] == [line[2:4] for line in first.published]
    assert ([], {}, 0) == second
    assert [] == listed(objects)
    (document,) = check(objects)
    assert [{"writer": 1, "first": 0, "last": 1}] == [
        {"writer": 1, "first": document["loads"][0]["first"], "last": document["loads"][-1]["last"]}
    ]
    assert 1 == len(days(exporting))
    assert ([], 0) == (exporting.verify().problems, exporting.verify().rows)


def test_changed_later(exporting: Exporting) -> None:
    """What was planned keeps the selection of its plan; what is stored later has the new one; both are sound."""
    blocked = exporting.appliance.bucket
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("no folder")
    exporting.deliver_to(LOCAL | SHOP)
    fill(exporting, 0)
    assert ["client"] == list(exporting.run().failed)
    blocked.unlink()
    exporting.deliver_to(LOCAL | {"sites": ["other.example"]})
    fill(exporting, 1, hour=HOUR + timedelta(hours=1))
    assert {} == exporting.run().failed

    assert wanted(exporting, lambda row: of_shop(row) is (row["segment_no"] == 0)) == delivered(
        exporting.bucket.objects()
    )
    assert [] == exporting.verify().problems


def test_format_added_later(exporting: Exporting) -> None:
    """A format that is added has of earlier events what the others have, whatever is selected by then."""
    exporting.deliver_to(LOCAL | SHOP)
    fill(exporting, 0)
    exporting.run()
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "ndjson"]})
    fill(exporting, 1, hour=HOUR + timedelta(hours=1))
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()

    for form in ("parquet", "ndjson"):
        assert wanted(exporting, lambda row: of_shop(row) or row["segment_no"] == 1) == in_order(
            delivered(objects, form)
        )
    assert [] == exporting.verify().problems


def test_replayed(exporting: Exporting) -> None:
    """What is removed is made again with the very bytes, hashed columns and all, after the selection was changed."""
    exporting.deliver_to(LOCAL | SHOP | HASHED)
    fill(exporting, 0)
    exporting.run()
    before = exporting.bucket.objects()
    exporting.deliver_to(LOCAL)
    (key,) = listed(before)
    (exporting.appliance.bucket / key).unlink()
    code, done, _ = replayed(exporting)

    assert (0, [{"destination": "client", "key": key}]) == (code, done["delivered"])
    assert {key: before[key] for key in before if key != "schema.json"} == {
        key: body for key, body in exporting.bucket.objects().items() if key != "schema.json"
    }


def test_adopted(exporting: Exporting) -> None:
    """A database that forgot takes over selections, and hours of which nothing was selected; then it goes on."""
    exporting.deliver_to(LOCAL | SHOP)
    fill(exporting, 0)
    fill(exporting, 1, hour=HOUR + timedelta(hours=1), sites=("other.example",))
    exporting.run()
    before = exporting.bucket.objects()
    exporting.database.forget()
    fill(exporting, 0)
    fill(exporting, 1, hour=HOUR + timedelta(hours=1), sites=("other.example",))
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "csv"]})
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()

    assert [1, 1] == [len(document["files"]) for document in manifests(objects)]
    assert wanted(exporting, of_shop) == in_order(delivered(objects, "csv")) == in_order(delivered(objects))
    assert {key: before[key] for key in listed(before)} == {key: objects[key] for key in listed(before)}
    assert [] == exporting.verify().problems


def test_impossible(exporting: Exporting) -> None:
    """A selection that cannot be is refused before anything is planned, with what to try."""
    exporting.deliver_to(LOCAL | {"columns_except": ["site_id"]})
    fill(exporting, 0)
    code, said = exported(exporting.appliance)

    assert (2, "Error: export.destination 'client': site_id is left out") == (code, said.splitlines()[0])
    assert {} == exporting.bucket.objects()

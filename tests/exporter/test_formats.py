"""Formats: the same events as Parquet, CSV and NDJSON, for readers that share nothing with the writer."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evothesis.errors import DeliveryError
from evothesis.exporter.decode import Names, count
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import COLUMNS, HOUR, delivered, events, in_order, listed, manifests
from tests.exporter.test_manifest import check
from tests.exporter.test_parquet import TEXTS, with_text

ALL = ["parquet", "csv", "ndjson"]
EXTENSIONS = {"parquet": ".parquet", "csv": ".csv.gz", "ndjson": ".ndjson.gz"}
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@sum(a1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "\uff0d1",
    "'",
    "'=1",
    "''",
    "a=1",
    "",
    None,
]


def only(exporting: Exporting, form: str) -> bytes:
    """Export; what the only file of a format holds, inflated."""
    exporting.deliver_to(LOCAL | {"formats": [form]})
    exporting.run()
    objects = exporting.bucket.objects()
    (key,) = listed(objects)
    assert key.endswith(EXTENSIONS[form])
    return gzip.decompress(objects[key])


@pytest.mark.parametrize("form", ALL)
def test_same_rows(exporting: Exporting, form: str) -> None:
    """Each format holds each stored event, whatever its texts."""
    exporting.deliver_to(LOCAL | {"formats": [form]})
    exporting.database.load([with_text(text) for text in [*TEXTS, *FORMULAS]], segment_no=0)
    exporting.database.load(events(50, site="other.example"), segment_no=1, second=1)
    exporting.run()

    assert in_order(exporting.database.expected) == in_order(delivered(exporting.bucket.objects(), form))


def test_any_event(exporting: Exporting) -> None:
    """Events of any content that PostgreSQL can hold come out of all three formats as they went in."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    alphabet = (
        [chr(code) for code in range(1, 0x3000)] + list("\"',=\r\n\t\\{}[]:" * 60) + ["😀", "\U0010ffff", "\uffff"]
    )

    def text() -> str | None:
        return chance.choice([None, "".join(chance.choices(alphabet, k=chance.randrange(12)))])

    def value(depth: int = 0) -> object:
        kinds: list[Callable[[], object]] = [
            text,
            lambda: chance.choice([True, False]),
            lambda: chance.randrange(-(2**80), 2**80),
            chance.random,
        ]
        if depth < 4:
            kinds += [lambda: [value(depth + 1) for _ in range(3)], lambda: {text() or "": value(depth + 1)}]
        return chance.choice(kinds)()

    rows = []
    for event in events(400, seed=seed):
        texts = {name: text() for name in ("session_id", "visitor_id", "url", "path", "user_agent")}
        moment = datetime(1900, 1, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(2_230 * 10**14))
        others = {"timestamp": moment, "raw_event_data": {"a": value()}, "event_type": text() or ""}
        rows.append(event | texts | others | {"site_id": chance.choice(["", "a", "=b", "ä\n'"])})
    exporting.deliver_to(LOCAL | {"formats": ALL})
    exporting.database.load(rows, segment_no=0)
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()

    for form in ALL:
        assert in_order(exporting.database.expected) == in_order(delivered(objects, form)), form


@pytest.mark.parametrize("form", ALL)
def test_large_numbers(exporting: Exporting, form: str) -> None:
    """A number that no double can hold, or that has hundreds of digits, stops no delivery."""
    (event,) = events(1)
    numbers = [10**308, -(10**400), 10**30, 5e-324]
    exporting.deliver_to(LOCAL | {"formats": [form]})
    exporting.database.load([event | {"raw_event_data": {"n": number}} for number in numbers], segment_no=0)

    assert {} == exporting.run().failed
    assert in_order(exporting.database.expected) == in_order(delivered(exporting.bucket.objects(), form))
    assert [] == exporting.verify().problems


@pytest.mark.parametrize(
    "line",
    [
        b'{"site_id":"a","is_bot":false,"raw_event_data":%b1%b}' % (b"[" * 5_000, b"]" * 5_000),
        b'{"site_id":"a","is_bot":"no"}',
        b'{"site_id":"a"',
    ],
    ids=["deep", "another type", "cut off"],
)
def test_ndjson_of_others(tmp_path: Path, line: bytes) -> None:
    """NDJSON that is not ours is said to be unreadable, however it is made."""
    (tmp_path / "file").write_bytes(gzip.compress(line + b"\n"))

    with pytest.raises(DeliveryError, match="file cannot be read as ndjson"):
        count(tmp_path / "file", "ndjson", Names("site_id", "is_bot"))


def test_ndjson(exporting: Exporting) -> None:
    """A line is an object with the columns in their order: JSON nested, null as null, times in ISO 8601."""
    (event,) = events(1)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    changes = {"visitor_id": None, "url": 'a"b\n\x01\u2028', "timestamp": moment}
    exporting.database.load([event | changes | {"raw_event_data": {"eventType": "t", "n": 2**100}}], segment_no=0)
    (line,) = only(exporting, "ndjson").decode().removesuffix("\n").split("\n")

    row = json.loads(line)
    assert list(COLUMNS) == list(row)
    assert '"visitor_id":null,' in line
    assert '"timestamp":"2026-01-02T03:04:05.000000Z"' in line
    assert f'"raw_event_data":{{"n": {2**100}, "eventType": "t"}},"created_at"' in line
    assert '"event_id_reused":false' in line
    assert changes["url"] == row["url"]


def test_csv(exporting: Exporting) -> None:
    """Lines end as RFC 4180 says, the first one is a header; nothing is null, and an empty text is quoted."""
    (event,) = events(1)
    exporting.database.load([event | {"visitor_id": None, "session_id": "", "url": 'a"b,\n'}], segment_no=0)
    text = only(exporting, "csv").decode()
    header, row = csv.reader(io.StringIO(text, newline=""), strict=True)

    assert text.startswith("event_id,event_type,")
    assert text.endswith("\r\n")
    assert ',"",,' in text
    assert 'a"b,\n' == dict(zip(header, row, strict=True))["url"]


def test_formulas(exporting: Exporting) -> None:
    """No cell begins as a formula does; the manifest names the rule, and undoing it gives each text back."""
    exporting.database.load([with_text(text) for text in FORMULAS], segment_no=0)
    text = only(exporting, "csv").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    (file,) = manifests(exporting.bucket.objects())[0]["files"]

    rule = file["neutralised"]
    assert set("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'") == set(rule["before"])
    cells = [cell for row in rows for cell in row.values()]
    assert [] == [cell for cell in cells if cell[:1] in set(rule["before"]) - {"'"} and cell]
    assert [text or "" for text in FORMULAS] == [row["url"].removeprefix(rule["mark"]) for row in rows]
    assert {"csv"} == {f["format"] for m in manifests(exporting.bucket.objects()) for f in m["files"] if rule}


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_gzip_names_nothing(exporting: Exporting, form: str) -> None:
    """A gzip header has no time and no name, and there is one member: the same rows are the same bytes."""
    exporting.database.load(events(3), segment_no=0)
    only(exporting, form)
    data = exporting.bucket.objects()[listed(exporting.bucket.objects())[0]]

    assert (b"\x1f\x8b\x08\x00", bytes(4)) == (data[:4], data[4:8])


def test_all_at_once(exporting: Exporting) -> None:
    """Several formats are listed by one manifest, which counts each event once; made again they have the same bytes."""
    exporting.deliver_to(LOCAL | {"formats": ALL}, rows_max=60)
    for segment_no in range(3):
        exporting.database.load(events(50, seed=segment_no), segment_no=segment_no, second=segment_no)
    outcome = exporting.run()
    first = exporting.bucket.objects()
    exporting.deliver_to(LOCAL | {"name": "second", "url": "file:var/second", "formats": ALL}, rows_max=60)
    exporting.run()

    assert [(1, 150, 9)] == [line[1:4] for line in outcome.published]
    (document,) = check(first)
    assert {"shop.example": 150} == document["rows_by_site"]
    for file in document["files"]:
        assert first[file["key"]] == (exporting.appliance.folder / "var/second" / file["key"]).read_bytes()


def test_listed_together(exporting: Exporting) -> None:
    """A chunk of which one format cannot be delivered is not listed in the others: no event would count twice."""
    exporting.deliver_to(LOCAL | {"url": "file:var/elsewhere", "name": "elsewhere", "formats": ALL})
    exporting.database.load(events(5), segment_no=0)
    exporting.run()
    folder = exporting.appliance.folder / "var/elsewhere"
    (key,) = (str(path.relative_to(folder)) for path in folder.rglob("*.ndjson.gz"))
    foreign = exporting.appliance.bucket / key
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"not ours")
    exporting.deliver_to(LOCAL | {"formats": ALL})
    outcome = exporting.run()

    assert (["client"], 3) == (list(outcome.failed), outcome.pending)
    assert [] == manifests(exporting.bucket.objects())
    foreign.unlink()
    assert {} == exporting.run().failed
    assert [5] == [document["rows"] for document in check(exporting.bucket.objects())]


def test_format_added_later(exporting: Exporting) -> None:
    """A format that is added brings the files of earlier events, in a manifest that does not count them again."""
    exporting.database.load(events(5), segment_no=0)
    exporting.run()
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "ndjson"]})
    exporting.database.load(events(4, seed=1), segment_no=1, hour=HOUR + timedelta(hours=1))
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()

    first, second = check(objects)
    assert (5, 4) == (first["rows"], second["rows"])
    assert ["ndjson", "ndjson", "parquet"] == sorted(file["format"] for file in second["files"])
    assert [{"writer": 1, "first": 1, "last": 1}] == second["loads"]
    for form in ("parquet", "ndjson"):
        assert in_order(exporting.database.expected) == in_order(delivered(objects, form))
    assert 9 == json.loads(objects["latest.json"])["totals"]["rows"]
    assert [] == exporting.verify().problems


def test_adopted(exporting: Exporting) -> None:
    """A database that forgot what it delivered takes over all formats, also one that is no longer configured."""
    exporting.deliver_to(LOCAL | {"formats": ["csv"]})
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    exporting.deliver_to(LOCAL | {"formats": ["csv", "parquet"]})
    exporting.run()
    before = exporting.bucket.objects()
    exporting.database.forget()
    exporting.database.load(events(3), segment_no=0)
    exporting.deliver_to(LOCAL | {"formats": ["parquet"]})
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert before == exporting.bucket.objects()

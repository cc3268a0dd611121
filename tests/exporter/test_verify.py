"""Verify: every kind of damage to a bucket is found, and called by its name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from evothesis.appliance.postgres import Postgres
from evothesis.config import Destination
from evothesis.errors import DeliveryError
from evothesis.exporter import manifest
from evothesis.exporter.store import store
from evothesis.exporter.verify import Report, verify
from tests.appliance import Appliance
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import HOUR, Database, Folder, events, listed, manifests
from tests.fix_postgres import new_database

FORMATS = ["parquet", "csv", "ndjson"]
FIRST, SECOND, LAST = (f"manifests/{number:08d}.json" for number in (1, 2, 3))


def deliver(exporting: Exporting, *destinations: dict[str, Any]) -> None:
    """Three manifests with files of two sites, two hours and all formats."""
    exporting.deliver_to(*(destinations or [LOCAL | {"formats": FORMATS}]))
    for number in range(3):
        rows = events(4, seed=number) + events(2, site="=other.example", seed=number)
        exporting.database.load(rows, segment_no=number, hour=HOUR + timedelta(hours=number % 2), second=number)
        assert {} == exporting.run().failed


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Path]:
    """The folder of an appliance that has delivered: twice, to buckets with chains of their own."""
    with new_database(postgres) as url:
        appliance = Appliance(tmp_path_factory.mktemp("sound"), {"database": {"url": url}})
        database = Database(url)
        exporting = Exporting(appliance, database)
        deliver(exporting)
        exporting.deliver_to(LOCAL | {"name": "second", "url": "file:var/second", "formats": FORMATS})
        assert {} == exporting.run().failed
        database.connection.close()
        yield appliance.folder / "var"


@pytest.fixture
def bucket_path(sound: Path, tmp_path: Path) -> Path:
    """A copy of its first bucket, to be damaged."""
    return Path(shutil.copytree(sound / "bucket", tmp_path / "bucket"))


def report_of(bucket: Path, *, public_key: str | None = None) -> Report:
    """What is found in a folder."""
    destination = Destination(url=f"file:{bucket}")
    return verify(store(destination), lambda _done, _total: None, public_key=public_key)


def remove(bucket: Path, key: str) -> None:
    """An object is gone."""
    (bucket / key).unlink()


def flip_bit(bucket: Path, key: str) -> None:
    """One bit in the middle is another one."""
    data = bytearray((bucket / key).read_bytes())
    data[len(data) // 2] ^= 1
    (bucket / key).write_bytes(data)


def cut_off(bucket: Path, key: str) -> None:
    """The last byte is missing."""
    (bucket / key).write_bytes((bucket / key).read_bytes()[:-1])


def empty(bucket: Path, key: str) -> None:
    """Nothing is in it."""
    (bucket / key).write_bytes(b"")


Damage = Callable[[Path, str], None]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("damage", "kind"), [(remove, "missing"), (flip_bit, "changed"), (cut_off, "changed"), (empty, "changed")]
)
def test_damaged_file(bucket_path: Path, damage: Damage, kind: str, form: str) -> None:
    """A file that is missing or of which a bit has changed is named, and nothing else is."""
    key = next(key for key in listed(Folder(bucket_path).objects()) if f".{form}" in key)
    damage(bucket_path, key)
    report = report_of(bucket_path)

    assert [(key, kind)] == [problem[:2] for problem in report.problems]
    assert ([], 18) == (report.extra, report.rows)


def test_swapped_files(bucket_path: Path) -> None:
    """Two files that have changed places are named, each with the other."""
    one, other = [key for key in listed(Folder(bucket_path).objects()) if key.endswith(".csv.gz")][:2]
    shutil.move(bucket_path / one, bucket_path / "aside")
    shutil.move(bucket_path / other, bucket_path / one)
    shutil.move(bucket_path / "aside", bucket_path / other)
    problems = report_of(bucket_path).problems

    swapped = [(key, "swapped", f"it holds the content of {its}") for key, its in ((one, other), (other, one))]
    assert sorted(swapped) == sorted(map(tuple, problems))


def edit(bucket: Path, key: str, **changes: object) -> None:
    """A manifest says something else, in its own form, and its signature is the old one."""
    document = json.loads((bucket / key).read_bytes()) | changes
    (bucket / key).write_bytes(manifest.canonical(document))


@pytest.mark.parametrize(
    "changes",
    [{"rows": 5}, {"rows_by_site": {}}, {"previous_sha256": None}, {"files": []}, {"sequence": 1}, {"signature": ""}],
    ids=lambda changes: next(iter(changes)),
)
def test_edited_manifest(bucket_path: Path, changes: dict[str, object]) -> None:
    """A manifest of which anything was edited is named, and those that follow it are not."""
    edit(bucket_path, SECOND, **changes)

    assert [(SECOND, "forged")] == [problem[:2] for problem in report_of(bucket_path).problems]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[" * 100_000, b"\xff", b'{"a": 1'])
def test_no_manifest(bucket_path: Path, body: bytes) -> None:
    """What is no manifest at all is named."""
    (bucket_path / SECOND).write_bytes(body)

    assert [(SECOND, "forged")] == [problem[:2] for problem in report_of(bucket_path).problems]


@pytest.mark.parametrize("key", [FIRST, SECOND, LAST])
def test_removed_manifest(bucket_path: Path, key: str) -> None:
    """A manifest that is gone is named, the last one too; its files are shown as extra."""
    files = [file["key"] for file in json.loads(Folder(bucket_path).objects()[key])["files"]]
    remove(bucket_path, key)
    report = report_of(bucket_path)

    assert [(key, "missing")] == [problem[:2] for problem in report.problems]
    assert sorted(files) == report.extra


def test_replaced_chain(bucket_path: Path, sound: Path) -> None:
    """A manifest that is authentic, and that the one behind it does not follow, is named."""
    (bucket_path / FIRST).write_bytes((sound / "second" / FIRST).read_bytes())
    problem = report_of(bucket_path).problems[0]

    assert (SECOND, "broken", "it does not follow the manifest before it, which was replaced") == problem


def test_other_key(bucket_path: Path) -> None:
    """Manifests that somebody else signed are forged for who knows the key."""
    ours = manifests(Folder(bucket_path).objects())[0]["public_key"]

    assert [] == report_of(bucket_path, public_key=ours).problems
    assert ["forged"] * 3 == [p.kind for p in report_of(bucket_path, public_key="A" * 43 + "=").problems]


def test_extra_object(bucket_path: Path) -> None:
    """An object that no manifest lists is shown, and is no damage."""
    extra = "events/dt=2026-11-22/hr=09/somebody-elses.parquet"
    (bucket_path / extra).write_bytes(b"x")
    report = report_of(bucket_path)

    assert (True, [], [extra]) == (report.ok, report.problems, report.extra)


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({"manifest": 1}, False),
        ({"manifest": 4}, False),
        ({"sha256": "0" * 64}, False),
        ({"totals": {"rows": 1, "files": 9, "bytes": 1}}, False),
        (None, False),
        ({"other": 1}, True),
    ],
)
def test_latest(bucket_path: Path, change: dict[str, object] | None, *, ok: bool) -> None:
    """latest.json agrees with the chain; it may have more members."""
    path = bucket_path / "latest.json"
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_bytes()) | change))

    assert ok is report_of(bucket_path).ok


def test_latest_of_before(bucket_path: Path) -> None:
    """Between a manifest and its latest.json there is a moment in which nothing is wrong."""
    before = manifests(Folder(bucket_path).objects())[:2]
    sizes = [file["bytes"] for document in before for file in document["files"]]
    totals = {"rows": sum(document["rows"] for document in before), "files": len(sizes), "bytes": sum(sizes)}
    sha256 = hashlib.sha256((bucket_path / SECOND).read_bytes()).hexdigest()
    (bucket_path / "latest.json").write_text(json.dumps({"manifest": 2, "sha256": sha256, "totals": totals}))

    assert [] == report_of(bucket_path).problems


def test_rows(bucket_path: Path, sound: Path) -> None:
    """A manifest that counts other rows than its files have is named, though it is signed."""
    key = manifest.signing_key(sound / "signing.key")
    document = json.loads(Folder(bucket_path).objects()[LAST])
    for name in ("signature", "public_key"):
        del document[name]
    document["rows"] += 1
    for file in document["files"]:
        file["rows"] += 1
    (bucket_path / LAST).write_bytes(manifest.signed(document, key))
    problems = report_of(bucket_path).problems

    assert {"rows", "broken"} == {problem.kind for problem in problems}
    assert {LAST, "latest.json", *(file["key"] for file in document["files"])} == {problem.key for problem in problems}


def test_folder_that_cannot_be_read(bucket_path: Path) -> None:
    """A manifest that is a folder, say, is an error with its path, not a crash."""
    (bucket_path / SECOND).unlink()
    (bucket_path / SECOND).mkdir()

    with pytest.raises(DeliveryError, match="Is a directory"):
        report_of(bucket_path)

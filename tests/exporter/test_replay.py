"""Replay: what somebody removed from a bucket comes back, byte for byte; what is there stays as it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import HOUR, events, listed
from tests.exporter.test_export import states
from tests.fix_s3 import Bucket
from tests.processes import UNHEARD_PORT

FORMATS = ["parquet", "csv", "ndjson"]
HOURS = ("--from", "2026-11-22T09", "--to", "2026-11-22T11")
BACKUP = LOCAL | {"name": "backup", "url": "file:var/backup", "formats": FORMATS}


def deliver(exporting: Exporting, *destinations: dict[str, Any]) -> None:
    """Three hours, of which HOURS has two, each with a manifest of its own."""
    exporting.deliver_to(*(destinations or [LOCAL | {"formats": FORMATS}]))
    for number in range(3):
        exporting.database.load(events(4, seed=number), segment_no=number, hour=HOUR + timedelta(hours=number))
        assert {} == exporting.run().failed


def replayed(exporting: Exporting, *words: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, what is printed as JSON, and what is said on stderr."""
    done = exporting.appliance.cli("export", "replay", *(words or HOURS), "--format", "json")
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_nothing_missing(exporting: Exporting) -> None:
    """Where all is there nothing is touched, however often it is asked for."""
    deliver(exporting)
    before = states(exporting.appliance.bucket)

    for _ in range(2):
        assert (0, {"left": 8, "delivered": [], "problems": []}) == replayed(exporting)[:2]
    assert before == states(exporting.appliance.bucket)


def test_missing(exporting: Exporting) -> None:
    """Files and manifests of the time range that are missing are delivered as they were; others are not."""
    deliver(exporting)
    before = exporting.bucket.objects()
    gone = [key for key in before if "hr=09" in key or "hr=11" in key] + ["manifests/00000002.json"]
    for key in gone:
        (exporting.appliance.bucket / key).unlink()
    code, report, _ = replayed(exporting)
    after = exporting.bucket.objects()

    assert (0, 4, []) == (code, report["left"], report["problems"])
    assert sorted(key for key in gone if "hr=11" not in key) == sorted(line["key"] for line in report["delivered"])
    assert {key: body for key, body in before.items() if "hr=11" not in key} == after
    assert 0 == replayed(exporting, "--from", "2026-11-22", "--to", "2026-11-23")[0]
    assert before == exporting.bucket.objects()
    assert [] == exporting.verify().problems


def test_one_destination(exporting: Exporting) -> None:
    """One destination may be chosen; one that does not exist is refused with those that do."""
    deliver(exporting, LOCAL | {"formats": FORMATS}, BACKUP)
    key = next(key for key in listed(exporting.bucket.objects()) if "hr=10" in key)
    backup = exporting.appliance.folder / "var/backup"
    for folder in (exporting.appliance.bucket, backup):
        (folder / key).unlink()
    code, report, _ = replayed(exporting, *HOURS, "--destination", "backup")

    assert (0, [{"destination": "backup", "key": key}]) == (code, report["delivered"])
    assert (True, False) == ((backup / key).exists(), (exporting.appliance.bucket / key).exists())
    code, _, said = replayed(exporting, *HOURS, "--destination", "third")
    assert (2, True) == (code, "client, backup" in said)


def test_from_another_destination(exporting: Exporting) -> None:
    """What the database no longer has is taken from another destination; where none has it, that is said."""
    deliver(exporting, LOCAL | {"formats": FORMATS}, BACKUP)
    exporting.database.connection.execute("drop table events_log_20261122")
    before = exporting.bucket.objects()
    keys = [key for key in listed(before) if "hr=10" in key]
    for key in keys:
        (exporting.appliance.bucket / key).unlink()
    code, report, _ = replayed(exporting)

    assert (0, keys) == (code, [line["key"] for line in report["delivered"]])
    assert before == exporting.bucket.objects()
    for folder in (exporting.appliance.bucket, exporting.appliance.folder / "var/backup"):
        (folder / keys[0]).unlink()
    code, report, said = replayed(exporting)
    assert (1, [("client", keys[0]), ("backup", keys[0])]) == (
        code,
        sorted(((line["destination"], line["key"]) for line in report["problems"]), reverse=True),
    )
    assert "Try: " in said


def test_other_content(exporting: Exporting) -> None:
    """An object that is there with another content is named, and stays as it is; the others are brought."""
    deliver(exporting)
    one, other = [key for key in listed(exporting.bucket.objects()) if "hr=09" in key][:2]
    (exporting.appliance.bucket / one).write_bytes(b"not ours")
    (exporting.appliance.bucket / other).unlink()
    code, report, said = replayed(exporting)

    assert (1, [one], [other]) == (
        code,
        [line["key"] for line in report["problems"]],
        [line["key"] for line in report["delivered"]],
    )
    assert b"not ours" == exporting.bucket.objects()[one]
    assert "move the object away" in said


def test_changed_rows(exporting: Exporting) -> None:
    """A file that would have other bytes now is not delivered."""
    deliver(exporting)
    key = listed(exporting.bucket.objects())[0]
    (exporting.appliance.bucket / key).unlink()
    exporting.database.connection.execute("update events_log set path = '/other' where segment_no = 0")
    code, report, _ = replayed(exporting)

    assert (1, [key], []) == (code, [line["key"] for line in report["problems"]], report["delivered"])
    assert key not in exporting.bucket.objects()


def test_s3(exporting: Exporting, bucket: Bucket) -> None:
    """In S3 credentials that may put and get are enough, though they are not told whether an object is there."""
    deliver(exporting, bucket.destination(formats=FORMATS))
    before = bucket.objects()
    bucket.client.delete_object(Bucket=bucket.name, Key=f"some/prefix/{listed(before)[0]}")
    code, report, said = replayed(exporting)

    assert (0, [listed(before)[0]]) == (code, [line["key"] for line in report["delivered"]]), said
    assert before == bucket.objects()


def test_unreachable(exporting: Exporting, bucket: Bucket) -> None:
    """A destination that does not answer is worth another try."""
    deliver(exporting, bucket.destination())
    exporting.deliver_to(bucket.destination(url="s3://other", endpoint=f"http://127.0.0.1:{UNHEARD_PORT}"))

    assert 3 == replayed(exporting)[0]


@pytest.mark.parametrize("words", [("--from", "2026-11-22"), ("--from", "x", "--to", "2026-11-22")])
def test_misused(exporting: Exporting, words: tuple[str, ...]) -> None:
    """A range that is not one is refused."""
    assert 2 == replayed(exporting, *words)[0]

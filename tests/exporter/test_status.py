"""Status: how far each destination is, and what keeps it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import HOUR, events, manifests
from tests.fix_s3 import Bucket


def status(exporting: Exporting) -> dict[str, dict[str, Any]]:
    """What the command prints as JSON, by destination."""
    done = exporting.appliance.cli("export", "status", "--format", "json")
    assert 0 == done.returncode, done.stderr
    return {line["destination"]: line for line in json.loads(done.stdout)["destinations"]}


def test_nothing_yet(exporting: Exporting) -> None:
    """Before the first export everything that is stored lags."""
    exporting.database.load(events(10), segment_no=0)
    exporting.database.load(events(5, seed=1), segment_no=1)
    (line,) = status(exporting).values()

    expected = {
        "destination": "client",
        "url": "file:var/bucket",
        "manifest": None,
        "published_at": None,
        "rows": 0,
        "files": {"planned": 0, "rendered": 0, "stored": 0, "published": 0},
        "attempts": 0,
        "conditional": None,
        "tried_at": None,
        "succeeded_at": None,
        "failures": 0,
        "error": None,
        "hint": None,
    }
    assert expected == {name: line[name] for name in expected}
    assert (2, 15) == (line["lag"]["loads"], line["lag"]["events"])


def test_delivered(exporting: Exporting) -> None:
    """After an export nothing lags, and what comes then does, for as long as it has been stored."""
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    (line,) = status(exporting).values()
    exporting.database.load(events(5, seed=1), segment_no=1, hour=HOUR + timedelta(hours=1))
    exporting.database.connection.execute("update loads set loaded_at = now() - interval '1 hour' where segment_no = 1")
    (later,) = status(exporting).values()

    assert (1, 10, True, 0) == (line["manifest"], line["rows"], line["conditional"], line["failures"])
    assert {"planned": 0, "rendered": 0, "stored": 0, "published": 1} == line["files"]
    assert {"loads": 0, "events": 0, "seconds": 0} == line["lag"]
    assert line["published_at"] <= line["tried_at"] == line["succeeded_at"]
    assert datetime.now(UTC) - datetime.fromisoformat(line["tried_at"]) < timedelta(minutes=5)
    assert (1, 5) == (later["lag"]["loads"], later["lag"]["events"])
    assert 3_600 <= later["lag"]["seconds"] < 3_900


def test_public_key(exporting: Exporting) -> None:
    """The key with which a client checks manifests is said, and is not made by asking."""
    before = json.loads(exporting.appliance.cli("export", "status", "--format", "json").stdout)
    exporting.database.load(events(1), segment_no=0)
    exporting.run()
    after = json.loads(exporting.appliance.cli("export", "status", "--format", "json").stdout)

    assert None is before["public_key"]
    assert manifests(exporting.bucket.objects())[0]["public_key"] == after["public_key"]


def test_failing(exporting: Exporting, bucket: Bucket) -> None:
    """A destination that fails says since when, why, and what to try; the other one does not lag."""
    broken = bucket.destination(secret_access_key="wrong" * 8)
    exporting.deliver_to(broken, LOCAL | {"name": "backup"})
    for segment_no in range(2):
        exporting.database.load(events(10, seed=segment_no), segment_no=segment_no)
        assert ["client"] == list(exporting.run().failed)
    lines = status(exporting)
    table = exporting.appliance.cli("export", "status").stdout
    exporting.deliver_to(bucket.destination(), LOCAL | {"name": "backup"})
    exporting.run()
    mended = status(exporting)

    client = lines["client"]
    assert (2, 20, 2, None) == (
        client["lag"]["loads"],
        client["lag"]["events"],
        client["failures"],
        client["succeeded_at"],
    )
    assert {"planned": 2, "rendered": 0, "stored": 0, "published": 0} == client["files"]
    assert 2 == client["attempts"]  # one for each run, though it was not even begun with a file
    assert "SignatureDoesNotMatch" in client["error"]
    assert "secret_access_key" in client["hint"]
    assert (0, None, 2) == (lines["backup"]["lag"]["loads"], lines["backup"]["error"], lines["backup"]["manifest"])
    assert "correct export.destination.secret_access_key" in table
    assert "20 events in 2 loads" in table
    assert (0, None, 0) == (mended["client"]["failures"], mended["client"]["error"], mended["client"]["lag"]["loads"])


def test_format_added(exporting: Exporting) -> None:
    """A format that was added lags until its files are there."""
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    exporting.deliver_to(LOCAL | {"formats": ["parquet", "csv"]})

    assert 10 == status(exporting)["client"]["lag"]["events"]
    exporting.run()
    assert 0 == status(exporting)["client"]["lag"]["events"]


def test_other_bucket_in_history(exporting: Exporting) -> None:
    """A bucket that has what the database forgot is told as what keeps it."""
    exporting.database.load(events(3, seed=1), segment_no=0)
    exporting.run()
    exporting.database.forget()
    exporting.database.load(events(3, seed=2), segment_no=0)
    done = exporting.appliance.cli("export")
    line = status(exporting)["client"]

    assert 1 == done.returncode
    assert "other segments" in line["error"]
    assert "set back" in line["hint"]

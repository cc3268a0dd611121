"""Destinations: S3 beside a folder, each with its own state; one that fails delays itself alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import delivered, events, exported, in_order, listed
from tests.exporter.test_manifest import check
from tests.fix_s3 import S3, Bucket
from tests.processes import UNHEARD_PORT

BACKUP = LOCAL | {"name": "backup"}


def test_s3(exporting: Exporting, bucket: Bucket) -> None:
    """A bucket has all that a folder has, below its prefix, with credentials that may put and get only."""
    exporting.deliver_to(bucket.destination(), BACKUP)
    for segment_no in range(2):
        exporting.database.load(events(10, seed=segment_no), segment_no=segment_no)
        assert {} == exporting.run().failed
    objects = bucket.objects()

    assert in_order(exporting.database.expected) == delivered(objects) == delivered(exporting.bucket.objects())
    assert [10, 10] == [document["rows"] for document in check(objects)]
    assert set(objects) == set(exporting.bucket.objects())


def test_s3_second_run(exporting: Exporting, bucket: Bucket) -> None:
    """A second run writes no object of a bucket, not even with the same content."""
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    exporting.deliver_to(bucket.destination())
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    before = bucket.listing()
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert 5 == len(before)
    assert before == bucket.listing()


def nobody_listens(_bucket: Bucket) -> dict[str, Any]:
    """A port on which nobody listens, and which nobody else can get meanwhile."""
    return {"endpoint": f"http://127.0.0.1:{UNHEARD_PORT}"}


def wrong_secret(_bucket: Bucket) -> dict[str, Any]:
    """A secret that is not the key's."""
    return {"secret_access_key": "wrong" * 8}


def unknown_key(_bucket: Bucket) -> dict[str, Any]:
    """A key that nobody has."""
    return {"access_key_id": "AKIAIOSFODNN7EXAMPLE"}


def missing_bucket(bucket: Bucket) -> dict[str, Any]:
    """A bucket that is not there."""
    return {"url": f"s3://{bucket.name}-missing/some/prefix"}


def other_bucket(_bucket: Bucket) -> dict[str, Any]:
    """A bucket that is somebody else's."""
    return {"url": "s3://somebody-elses/some/prefix"}


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (nobody_listens, 3, "endpoint"),
        (wrong_secret, 1, "SignatureDoesNotMatch"),
        (unknown_key, 1, "InvalidAccessKeyId"),
        (missing_bucket, 1, "NoSuchBucket"),
        (other_bucket, 1, "AccessDenied"),
    ],
)
def test_dead_destination(
    exporting: Exporting, bucket: Bucket, fault: Callable[[Bucket], dict[str, Any]], code: int, said: str
) -> None:
    """A destination that fails is named with what to try; the other one gets everything; later the first one too."""
    exporting.deliver_to(bucket.destination(**fault(bucket)), BACKUP)
    exporting.database.load(events(10), segment_no=0)
    failed = exported(exporting.appliance)

    assert code == failed[0]
    assert failed[1].startswith("Error: client: cannot reach s3://")
    assert "\nTry: " in failed[1]
    assert said in failed[1]
    assert "backup" not in failed[1]
    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())
    assert {} == bucket.objects()

    exporting.deliver_to(bucket.destination(), BACKUP)
    assert {} == exporting.run().failed
    assert_same_files(bucket.objects(), exporting.bucket.objects())


def assert_same_files(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    """Both have the same files, byte for byte, under chains that hold."""
    files = listed(one)
    check(one)
    check(other)
    assert files == listed(other)
    assert {key: one[key] for key in files} == {key: other[key] for key in files}


def test_catches_up(exporting: Exporting, bucket: Bucket) -> None:
    """A destination that was away for many runs gets all of them, the same bytes that the other one has."""
    exporting.deliver_to(bucket.destination(**wrong_secret(bucket)), BACKUP)
    for segment_no in range(4):
        exporting.database.load(events(10, seed=segment_no), segment_no=segment_no)
        outcome = exporting.run()
        assert (["client"], segment_no + 1) == (list(outcome.failed), outcome.pending)
    exporting.deliver_to(bucket.destination(), BACKUP)
    outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert [("client", 1, 40, 4)] == [tuple(line[:4]) for line in outcome.published]
    assert_same_files(bucket.objects(), exporting.bucket.objects())


def test_both_dead(exporting: Exporting, bucket: Bucket) -> None:
    """When one destination needs a person and the other only time, a person is needed."""
    exporting.deliver_to(
        bucket.destination(**nobody_listens(bucket)), bucket.destination("other", **wrong_secret(bucket))
    )
    exporting.database.load(events(1), segment_no=0)
    code, said = exported(exporting.appliance)

    assert 1 == code
    assert ["Error: client", "Try: ", "Error: other", "Try: "] == [
        line[: len(start)]
        for line, start in zip(said.splitlines(), ("Error: client", "Try: ", "Error: other", "Try: "), strict=True)
    ]


def test_new_destination(exporting: Exporting, bucket: Bucket) -> None:
    """A destination that is added later gets what was exported before it, too."""
    for segment_no in range(3):
        exporting.database.load(events(10, seed=segment_no), segment_no=segment_no)
        exporting.run()
    exporting.deliver_to(LOCAL, bucket.destination("second"))
    exporting.run()

    assert in_order(exporting.database.expected) == delivered(bucket.objects())
    assert_same_files(bucket.objects(), exporting.bucket.objects())


@pytest.mark.parametrize("place", ["file", "manifest"])
def test_foreign_object_in_s3(exporting: Exporting, bucket: Bucket, place: str) -> None:
    """An object that somebody else put under a key of ours, file or manifest, is never overwritten."""
    exporting.deliver_to(BACKUP)
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    key = listed(exporting.bucket.objects())[0] if place == "file" else "manifests/00000001.json"
    bucket.put(key, b"not ours")
    exporting.deliver_to(BACKUP, bucket.destination())
    failed = exporting.run().failed

    assert ["client"] == list(failed)
    assert key in str(failed["client"])
    assert failed["client"].hint
    assert b"not ours" == bucket.objects()[key]
    assert "latest.json" not in bucket.objects()


def test_secret_is_not_said(exporting: Exporting, s3: S3, bucket: Bucket) -> None:
    """What goes wrong is said without the secret, in every form of output."""
    exporting.deliver_to(bucket.destination(url="s3://somebody-elses/x"))
    exporting.database.load(events(1), segment_no=0)
    done = exporting.appliance.cli("export")

    assert 1 == done.returncode
    assert bucket.secret_access_key not in done.stdout + done.stderr
    assert s3.endpoint == bucket.endpoint


def test_layout(exporting: Exporting) -> None:
    """Files lie in folders that the destination chooses; those that were delivered before stay where they are."""
    formats = {"formats": ["parquet", "csv"]}
    exporting.deliver_to(LOCAL | formats | {"layout": "{format}/year=2026/dt={dt}/hr={hr}"})
    exporting.database.load(events(3), segment_no=0)
    assert {} == exporting.run().failed
    exporting.deliver_to(LOCAL | formats | {"layout": "{dt}"})
    exporting.database.load(events(3), segment_no=1, second=1)
    assert {} == exporting.run().failed
    objects = exporting.bucket.objects()

    assert [
        "events/csv/year=2026/dt=2026-11-22/hr=09",
        "events/parquet/year=2026/dt=2026-11-22/hr=09",
        "events/2026-11-22",
        "events/2026-11-22",
    ] == [key.rpartition("/")[0] for key in listed(objects)]
    assert in_order(exporting.database.expected) == delivered(objects)
    assert ([], []) == (exporting.verify().problems, exporting.verify().extra)

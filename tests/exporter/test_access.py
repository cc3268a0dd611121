"""Access: in which role an export writes to a bucket, and how what it writes is kept there."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import delivered, events, in_order
from tests.exporter.wire import Fault, wire
from tests.fix_s3 import S3, Bucket


class Listens(Fault):
    """Keeps what the server for roles is asked."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.asked: list[dict[str, list[str]]] = []

    def body(self, body: bytes) -> bytes:
        """Forms are read, and all passes."""
        if body.startswith(b"Action="):
            self.asked.append(parse_qs(body.decode()))
        return body


def test_role(exporting: Exporting, s3: S3, bucket: Bucket) -> None:
    """Keys that may do nothing but take a role deliver in it; its owner is told the external id."""
    listens = Listens()
    role = s3.new_role(bucket) | {"external_id": "acme-7"}
    exporting.database.load(events(10), segment_no=0)
    with wire(bucket.endpoint, listens) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint, **role))
        outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(bucket.objects())
    (asked,) = listens.asked
    assert ([role["role_arn"]], ["acme-7"]) == (asked["RoleArn"], asked["ExternalId"])


@pytest.mark.parametrize("fault", ["nothing but the role", "another role", "wrong secret"])
def test_no_role(exporting: Exporting, s3: S3, bucket: Bucket, fault: str) -> None:
    """Without the role its keys may do nothing; a role that cannot be taken is said to be what is wrong."""
    role = s3.new_role(bucket)
    changes = {
        "nothing but the role": {"role_arn": ""},
        "another role": {"role_arn": s3.new_role(bucket)["role_arn"]},
        "wrong secret": {"secret_access_key": "wrong" * 8},
    }[fault]
    exporting.deliver_to(bucket.destination(**(role | changes)))
    exporting.database.load(events(1), segment_no=0)
    error = exporting.run().failed["client"]

    assert (fault != "nothing but the role") is str(error).startswith("cannot take the role for s3://")
    assert (fault != "nothing but the role") is ("role_arn" in str(error.hint))
    assert {} == bucket.objects()


def test_nobody_takes_the_role(
    exporting: Exporting, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination with a role and nobody who could take it delays itself alone."""
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    nobody = {"role_arn": "arn:aws:iam::123456789012:role/any", "access_key_id": "", "secret_access_key": ""}
    exporting.deliver_to(bucket.destination(**nobody), LOCAL | {"name": "backup"})
    exporting.database.load(events(1), segment_no=0)
    failed = exporting.run().failed

    assert ["client"] == list(failed)
    assert "there are no credentials" in str(failed["client"])
    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, (None, None, None)),
        ({"encryption": "sse-s3", "storage_class": "STANDARD_IA"}, ("AES256", None, "STANDARD_IA")),
        ({"encryption": "sse-kms"}, ("aws:kms", None, None)),
        ({"encryption": "sse-kms", "kms_key_id": "alias/acme"}, ("aws:kms", "alias/acme", None)),
    ],
)
def test_kept(
    exporting: Exporting, bucket: Bucket, settings: dict[str, str], kept: tuple[str | None, str | None, str | None]
) -> None:
    """Every object is encrypted as it is configured; files have their class, all else has the usual one."""
    exporting.deliver_to(bucket.destination(**settings))
    exporting.database.load(events(3), segment_no=0)
    assert {} == exporting.run().failed
    encryption, key_id, storage_class = kept

    assert in_order(exporting.database.expected) == delivered(bucket.objects())
    for key in bucket.objects():
        head = bucket.client.head_object(Bucket=bucket.name, Key=f"some/prefix/{key}")
        is_file = key.startswith("events/")
        assert (encryption, key_id) == (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")), key
        assert (storage_class if is_file else None) == head.get("StorageClass"), key

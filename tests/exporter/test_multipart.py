"""Multipart: a file too large for one request becomes one object, under the same promises."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evothesis.config import Destination
from evothesis.errors import DeliveryError, UnreachableError
from evothesis.exporter.s3 import Bucket as Store
from evothesis.exporter.store import bring
from tests.appliance import ROOT
from tests.exporter.wire import Exchange, Fault, wire
from tests.fix_s3 import S3, Bucket

PART_BYTES = 5 * 2**20  # the least that S3 takes
KEY = "events/large"


class Refuses(Fault):
    """Refuses the second part."""

    def status(self, exchange: Exchange) -> int | None:
        """403 for it."""
        return 403 if "partNumber=2" in exchange.path else exchange.status


class LosesTheLastAnswer(Fault):
    """The answer that the object is complete is lost on its way, once."""

    def __init__(self) -> None:
        """It was not lost yet."""
        self.lost = False

    def status(self, exchange: Exchange) -> int | None:
        """None, once."""
        if self.lost or exchange.method != "POST" or "uploadId=" not in exchange.path:
            return exchange.status
        self.lost = True
        return None


class Damages(Fault):
    """A bit of each part is flipped on its way; the server here does not look at checksums."""

    def body(self, body: bytes) -> bytes:
        """The body with another first byte."""
        return bytes([body[0] ^ 1]) + body[1:] if len(body) > 2**20 else body


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two parts and a half."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(random.Random(0).randbytes(PART_BYTES * 5 // 2))
    return path


def sha256(path: Path) -> bytes:
    """What the ledger would know of it."""
    return hashlib.sha256(path.read_bytes()).digest()


def store(bucket: Bucket, **changes: Any) -> Store:  # noqa: ANN401 - any setting of a destination
    """The destination, with parts of five megabytes."""
    return Store(msgspec.convert(bucket.destination(**changes), Destination), part_bytes=PART_BYTES)


def uploads(bucket: Bucket) -> list[str]:
    """The keys of uploads that were begun and not ended."""
    answer = bucket.client.list_multipart_uploads(Bucket=bucket.name)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def begin(bucket: Bucket, key: str) -> None:
    """Leave an upload as a killed export does."""
    bucket.client.create_multipart_upload(Bucket=bucket.name, Key=f"some/prefix/{key}")


def test_created(bucket: Bucket, large: Path) -> None:
    """The object has all bytes; it went in parts with checksums, and on condition that there is none."""
    with wire(bucket.endpoint) as passed:
        bring(store(bucket, endpoint=passed.endpoint), KEY, large, sha256(large))
    parts = [exchange for exchange in passed.exchanges if exchange.method == "PUT"]
    (complete,) = [
        exchange for exchange in passed.exchanges if exchange.method == "POST" and "uploadId=" in exchange.path
    ]

    assert large.read_bytes() == bucket.objects()[KEY]
    assert (3, 3) == (len(parts), sum("x-amz-checksum-sha256" in part.headers for part in parts))
    assert "*" == complete.headers["if-none-match"]
    assert [] == uploads(bucket)


def test_exists(bucket: Bucket, s3: S3, large: Path) -> None:
    """What is there stays: the same is found, another one is an error, and no part is left behind."""
    bring(store(bucket), KEY, large, sha256(large))
    bring(store(bucket, **s3_rights(s3, bucket)), KEY, large, sha256(large))
    bucket.put(KEY, b"not ours")
    with pytest.raises(DeliveryError, match="exists with another content"):
        bring(store(bucket, **s3_rights(s3, bucket)), KEY, large, sha256(large))

    assert b"not ours" == bucket.objects()[KEY]
    assert [] == uploads(bucket)


def s3_rights(s3: S3, bucket: Bucket) -> dict[str, str]:
    """Keys that may end uploads too, as docs/operating.md asks for."""
    actions = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads"]
    keys = s3.new_credentials(bucket, actions)
    return {"access_key_id": keys["AWS_ACCESS_KEY_ID"], "secret_access_key": keys["AWS_SECRET_ACCESS_KEY"]}


def test_stale(bucket: Bucket, s3: S3, large: Path) -> None:
    """Parts that a killed export left are ended by the next one, and nobody else's."""
    for key in (KEY, f"{KEY}-of-others"):
        begin(bucket, key)
    bring(store(bucket, **s3_rights(s3, bucket)), KEY, large, sha256(large))

    assert [f"some/prefix/{KEY}-of-others"] == uploads(bucket)


def test_stale_without_rights(bucket: Bucket, large: Path) -> None:
    """Keys that may not list or end uploads deliver all the same."""
    begin(bucket, KEY)
    bring(store(bucket), KEY, large, sha256(large))

    assert large.read_bytes() == bucket.objects()[KEY]
    assert [f"some/prefix/{KEY}"] == uploads(bucket)


def test_failed_part(bucket: Bucket, s3: S3, large: Path) -> None:
    """An upload that fails is ended: nothing of it is left, and the next one succeeds."""
    with wire(bucket.endpoint, Refuses()) as passed, pytest.raises(DeliveryError, match="AccessDenied"):
        bring(store(bucket, endpoint=passed.endpoint, **s3_rights(s3, bucket)), KEY, large, sha256(large))
    left = (bucket.objects(), uploads(bucket))
    bring(store(bucket), KEY, large, sha256(large))

    assert ({}, []) == left
    assert large.read_bytes() == bucket.objects()[KEY]


def test_lost_answer(bucket: Bucket, large: Path) -> None:
    """An object that was completed while the answer was lost is found again."""
    fault = LosesTheLastAnswer()
    with wire(bucket.endpoint, fault) as passed:
        try:
            bring(store(bucket, endpoint=passed.endpoint), KEY, large, sha256(large))
        except UnreachableError:
            bring(store(bucket), KEY, large, sha256(large))

    assert fault.lost
    assert large.read_bytes() == bucket.objects()[KEY]


def test_damaged(bucket: Bucket, large: Path) -> None:
    """Parts that arrived with other bytes are seen when the object is read back."""
    with (
        wire(bucket.endpoint, Damages()) as passed,
        pytest.raises(DeliveryError, match="was not stored as it was sent"),
    ):
        bring(store(bucket, endpoint=passed.endpoint), KEY, large, sha256(large))


UPLOAD = r"""
import re, sys
from pathlib import Path

import msgspec

from evothesis.config import Destination
from evothesis.exporter.decode import sha256_of
from evothesis.exporter.s3 import Bucket
from evothesis.exporter.store import bring

store = Bucket(msgspec.json.decode(sys.argv[1], type=Destination))
for name in sys.argv[2:]:
    bring(store, f"events/{Path(name).name}", Path(name), sha256_of(Path(name)))
    # not ru_maxrss, which is at least what the process had that started this one
    print(int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_memory(bucket: Bucket, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A file of 600 MiB, which goes in three parts and is read back, takes hardly more memory than one of 1 MiB."""
    names = []
    for megabytes in (1, 600):
        with (tmp_path / f"{megabytes}").open("wb") as file:
            for number in range(megabytes):
                file.write(random.Random(number).randbytes(2**20))
        names.append(file.name)
    command = [sys.executable, "-c", UPLOAD, json.dumps(bucket.destination()), *names]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    Path(names[-1]).unlink()
    small, large = map(int, done.stdout.split())
    record_property("megabytes for an upload of 1 and of 600 MiB", [small // 2**20, large // 2**20])

    assert [] == uploads(bucket)
    assert large - small < 64 * 2**20

"""The wire to S3: what is asked of a bucket, and what happens when the way there is not sound."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import unquote

from tests.exporter.conftest import Exporting
from tests.exporter.seam import delivered, events, in_order, listed, manifests
from tests.exporter.test_manifest import check
from tests.exporter.wire import Exchange, Fault, wire
from tests.fix_s3 import Bucket


class HidesWhatIsMissing(Fault):
    """S3 tells 403 of a missing object to those who may not list: the manual of HeadObject says so."""

    def status(self, exchange: Exchange) -> int | None:
        """403 for 404."""
        return 403 if exchange.status == 404 and exchange.method in ("GET", "HEAD") else exchange.status


class LosesAnswers(Fault):
    """The first answer to each PUT is lost on its way back: the object is there, and nobody knows."""

    def __init__(self) -> None:
        """Nothing was lost yet."""
        self.lost: set[str] = set()

    def status(self, exchange: Exchange) -> int | None:
        """None, once for each key."""
        if exchange.method != "PUT" or exchange.path in self.lost:
            return exchange.status
        self.lost.add(exchange.path)
        return None


class AsksToSlowDown(LosesAnswers):
    """The first PUT of each key is answered 503."""

    def status(self, exchange: Exchange) -> int | None:
        """503, once for each key."""
        return super().status(exchange) or 503


class Damages(Fault):
    """A bit of each file is flipped on its way; the server here does not look at checksums."""

    def body(self, body: bytes) -> bytes:
        """The body with another first byte."""
        return bytes([body[0] ^ 1]) + body[1:] if body.startswith(b"PAR1") else body


def test_what_is_asked(exporting: Exporting, bucket: Bucket) -> None:
    """Objects are created with a checksum and on condition that there is none; nothing is listed or deleted."""
    with wire(bucket.endpoint) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        exporting.database.load(events(10), segment_no=0)
        assert {} == exporting.run().failed
    objects = bucket.objects()
    puts = {unquote(e.path).partition("/some/prefix/")[2]: e.headers for e in passed.exchanges if e.method == "PUT"}
    (key,) = listed(objects)

    asked = {name: headers.get("if-none-match") for name, headers in puts.items()}
    assert [
        ("README.md", "*"),
        ("schema.json", None),
        (key, "*"),
        ("manifests/00000001.json", "*"),
        ("latest.json", None),
    ] == list(asked.items())
    for name in ("README.md", key, "manifests/00000001.json"):
        checksum = base64.b64encode(hashlib.sha256(objects[name]).digest()).decode()
        assert checksum == puts[name]["x-amz-checksum-sha256"]
    assert {"PUT", "HEAD", "GET"} >= {exchange.method for exchange in passed.exchanges}
    assert [] == [exchange.path for exchange in passed.exchanges if "/some/prefix/" not in exchange.path]


def test_missing_is_forbidden(exporting: Exporting, bucket: Bucket) -> None:
    """After an outage a key that may not list, and is told 403 of what is not there, delivers all the same."""
    exporting.database.load(events(10), segment_no=0)
    exporting.deliver_to(bucket.destination(secret_access_key="wrong" * 8))
    assert ["client"] == list(exporting.run().failed)
    with wire(bucket.endpoint, HidesWhatIsMissing()) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(bucket.objects())


def test_lost_answers(exporting: Exporting, bucket: Bucket) -> None:
    """An object that was stored while its answer was lost is found again, and is not stored twice."""
    fault = LosesAnswers()
    exporting.database.load(events(10), segment_no=0)
    with wire(bucket.endpoint, fault) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        outcome = exporting.run()

    assert ({}, 0, 5) == (outcome.failed, outcome.pending, len(fault.lost))
    assert [10] == [document["rows"] for document in check(bucket.objects())]
    assert in_order(exporting.database.expected) == delivered(bucket.objects())


def test_slow_down(exporting: Exporting, bucket: Bucket) -> None:
    """A bucket that asks for patience gets it within the run."""
    exporting.database.load(events(10), segment_no=0)
    with wire(bucket.endpoint, AsksToSlowDown()) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(bucket.objects())


def test_damaged_on_the_way(exporting: Exporting, bucket: Bucket) -> None:
    """A file that arrived with another content is seen when it is read back, and no manifest lists it."""
    exporting.database.load(events(10), segment_no=0)
    with wire(bucket.endpoint, Damages()) as passed:
        exporting.deliver_to(bucket.destination(endpoint=passed.endpoint))
        outcome = exporting.run()

    assert (["client"], 1) == (list(outcome.failed), outcome.pending)
    assert "was not stored as it was sent" in str(outcome.failed["client"])
    assert [] == manifests(bucket.objects())

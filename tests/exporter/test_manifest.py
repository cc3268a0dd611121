"""Manifests: the signed chain that tells a reader what to trust, checked as a stranger would check it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from evothesis.errors import ConfigurationError
from evothesis.exporter import manifest
from tests.exporter.conftest import Exporting
from tests.exporter.seam import ABOUT, HOUR, delivered, events, in_order, manifests


def check(objects: dict[str, bytes]) -> list[dict[str, Any]]:
    """The manifests of a bucket, after every promise that the contract makes of them."""
    previous: bytes | None = None
    chain = manifests(objects)
    for number, document in enumerate(chain, start=1):
        body = objects[f"manifests/{number:08d}.json"]
        unsigned = {name: value for name, value in document.items() if name != "signature"}
        signed = json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(document["public_key"]))
        public.verify(base64.b64decode(document["signature"]), signed)
        assert body == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert (number, hashlib.sha256(previous).hexdigest() if previous else None) == (
            document["sequence"],
            document["previous_sha256"],
        )
        assert document["rows"] == sum(document["rows_by_site"].values())
        for file in document["files"]:
            data = objects[file["key"]]
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        previous = body
    assert 1 == len({document["public_key"] for document in chain})
    return chain


def test_chain(exporting: Exporting) -> None:
    """Each manifest names the one before it, is signed, and lists what it promises, byte for byte."""
    for number in range(3):
        exporting.database.load(events(10 + number, seed=number), segment_no=number)
        exporting.run()
    objects = exporting.bucket.objects()

    assert [10, 11, 12] == [document["rows"] for document in check(objects)]
    assert in_order(exporting.database.expected) == delivered(objects)


def test_members(exporting: Exporting) -> None:
    """A manifest has the contract's members, and says which loads it holds."""
    exporting.database.load(events(4), writer=7, segment_no=0)
    exporting.database.load(events(3, site="other.example") + events(1, seed=1), writer=7, segment_no=1)
    exporting.database.load([], writer=8, segment_no=0)
    exporting.run()
    (document,) = check(exporting.bucket.objects())
    (file,) = document["files"]

    expected = {
        "version": 1,
        "instance": "test",
        "sequence": 1,
        "previous_sha256": None,
        "loads": [{"writer": 7, "first": 0, "last": 1}, {"writer": 8, "first": 0, "last": 0}],
        "rows": 8,
        "rows_by_site": {"other.example": 3, "shop.example": 5},
    }
    assert expected == {name: document[name] for name in expected}
    of_file = {"format": "parquet", "rows": 8, "schema_version": 2}
    assert of_file == {name: file[name] for name in of_file}
    assert timedelta(0) == datetime.fromisoformat(document["created_at"]).utcoffset()


def test_latest(exporting: Exporting) -> None:
    """The one object that is ever overwritten names the newest manifest, and the totals."""
    for number in range(2):
        exporting.database.load(events(10, seed=number), segment_no=number)
        exporting.run()
    objects = exporting.bucket.objects()
    newest = objects["manifests/00000002.json"]

    latest = json.loads(objects["latest.json"])
    sizes = [file["bytes"] for document in manifests(objects) for file in document["files"]]
    assert {
        "instance": "test",
        "manifest": 2,
        "key": "manifests/00000002.json",
        "sha256": hashlib.sha256(newest).hexdigest(),
        "created_at": json.loads(newest)["created_at"],
        "totals": {"rows": 20, "files": 2, "bytes": sum(sizes)},
    } == latest


def test_nothing_else(exporting: Exporting) -> None:
    """A bucket holds what its manifests list, the manifests, latest.json and the guide: nothing unfinished."""
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    objects = exporting.bucket.objects()

    expected = {"manifests/00000001.json", *(f["key"] for m in check(objects) for f in m["files"])}
    assert expected | ABOUT == set(objects)


def test_site_of_any_name(exporting: Exporting) -> None:
    """Sites with any letters are counted under their names, and the signature holds."""
    sites = ["ä.example", "中文", '"\\', "", " ", "😀"]
    exporting.database.load([event for site in sites for event in events(2, site=site)], segment_no=0)
    exporting.run()

    assert dict.fromkeys(sites, 2) == check(exporting.bucket.objects())[0]["rows_by_site"]


@pytest.mark.parametrize("member", ["rows", "previous_sha256", "created_at", "files", "signature", "public_key"])
def test_tampered(exporting: Exporting, member: str) -> None:
    """A manifest of which anything was changed is not authentic, for us and for a stranger."""
    exporting.database.load(events(1), segment_no=0)
    exporting.run()
    (document,) = check(exporting.bucket.objects())
    assert manifest.is_authentic(document)
    changed = {"rows": 2, "files": []}.get(member, base64.b64encode(bytes(64)).decode())
    tampered = document | {member: changed if member != "public_key" else base64.b64encode(bytes(32)).decode()}

    assert not manifest.is_authentic(tampered)
    body = json.dumps(tampered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    with pytest.raises((InvalidSignature, ValueError)):
        check(exporting.bucket.objects() | {"manifests/00000001.json": body})


@pytest.mark.parametrize("member", ["signature", "public_key"])
def test_unsigned(exporting: Exporting, member: str) -> None:
    """A manifest without a signature, or without the key, is not authentic."""
    exporting.database.load(events(1), segment_no=0)
    exporting.run()
    (document,) = manifests(exporting.bucket.objects())

    for value in (None, "", 7, "not base64!"):
        assert not manifest.is_authentic(document | {member: value})
    assert not manifest.is_authentic({name: document[name] for name in document if name != member})


def test_signing_key(tmp_path: Path) -> None:
    """The key is made once, for its owner's eyes only."""
    path = tmp_path / "var/signing.key"
    made = manifest.signing_key(path).public_key().public_bytes_raw()

    assert made == manifest.signing_key(path).public_key().public_bytes_raw()
    assert 0o600 == path.stat().st_mode & 0o777


def test_signing_key_of_ones_own(tmp_path: Path) -> None:
    """A key in the standard form, as other tools make it, is used; what signs is its private half."""
    path = tmp_path / "signing.key"
    key = manifest.signing_key(path)
    by_others = load_pem_private_key(path.read_bytes(), password=None)

    assert key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) == by_others.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize("kind", ["empty", "text", "rsa", "folder"])
def test_signing_key_unusable(exporting: Exporting, tmp_path: Path, kind: str) -> None:
    """A file that is no such key is named, with what to try; nothing is delivered or planned."""
    path = tmp_path / "signing.key"
    rsa = generate_private_key(public_exponent=65_537, key_size=2_048)
    content = {
        "empty": b"",
        "text": b"key",
        "rsa": rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(content[kind])
    exporting.deliver_to(signing_key_path=str(path))
    exporting.database.load(events(1), segment_no=0)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))) as refused:
        exporting.run()

    assert refused.value.hint
    assert {} == exporting.bucket.objects()
    assert (0,) == exporting.database.connection.execute("select count(*) from exports").fetchone()


def test_key_of_a_manifest() -> None:
    """Manifests are in order when their names are."""
    assert ["manifests/00000001.json", "manifests/00000012.json", "manifests/12345678.json"] == [
        manifest.key_of(sequence) for sequence in (1, 12, 12_345_678)
    ]


def test_key_of_many_exports(tmp_path: Path) -> None:
    """First exports that begin at the same moment sign with one key, and leave nothing else beside it."""
    barrier = Barrier(8)

    def begin(_: int) -> bytes:
        barrier.wait()
        return manifest.signing_key(tmp_path / "keys" / "signing.key").private_bytes_raw()

    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(begin, range(8)))

    assert 1 == len(keys)
    assert ["signing.key"] == [file.name for file in (tmp_path / "keys").iterdir()]


def test_schema_of_before(exporting: Exporting) -> None:
    """A file that the version before had stored is listed with the columns that it has, not with those of today."""
    exporting.database.load(events(4), segment_no=0)
    exporting.run()
    connection = exporting.database.connection
    connection.execute("update deliveries set state = 'stored', manifest_sequence = null, schema_version = 1")
    connection.execute("delete from manifests")
    for path in (exporting.appliance.bucket / "manifests").iterdir():
        path.unlink()
    exporting.database.load(events(2, seed=1), segment_no=1, hour=HOUR + timedelta(hours=1))
    exporting.run()

    (document,) = check(exporting.bucket.objects())
    assert [(4, 1), (2, 2)] == [(file["rows"], file["schema_version"]) for file in document["files"]]

"""Access: in which role an export writes to a bucket, and how what it writes is kept there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import boto3
import pyrage  # type: ignore[import-untyped]  # it has no stubs
import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import delivered, events, in_order
from tests.exporter.test_crash import begin
from tests.exporter.wire import Fault, wire
from tests.fix_s3 import REGION, S3, Bucket


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


@contextmanager
def machine(s3: S3, bucket: Bucket) -> Iterator[str]:
    """What a machine in the cloud asks for the keys of its role, as EC2 answers it (IMDSv2); its address."""
    role = s3.new_role(bucket)
    sts = boto3.client(
        "sts",
        endpoint_url=bucket.endpoint,
        region_name=REGION,
        aws_access_key_id=role["access_key_id"],
        aws_secret_access_key=role["secret_access_key"],
    )
    taken = sts.assume_role(RoleArn=role["role_arn"], RoleSessionName="machine")["Credentials"]
    keys = {
        "Code": "Success",
        "AccessKeyId": taken["AccessKeyId"],
        "SecretAccessKey": taken["SecretAccessKey"],
        "Token": taken["SessionToken"],
        "Expiration": taken["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("session" if self.path == "/latest/api/token" else None)

        def do_GET(self) -> None:
            roles = "/latest/meta-data/iam/security-credentials/"
            is_known = self.headers.get("x-aws-ec2-metadata-token") == "session"
            self._answer({roles: "exporter", f"{roles}exporter": json.dumps(keys)}.get(self.path) if is_known else None)

        def _answer(self, text: str | None) -> None:
            self.send_response_only(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("way", ["variables", "profile", "machine", "file", "encrypted file", "systemd"])
def test_ways(
    exporting: Exporting, s3: S3, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Keys come from variables, from a profile, from the machine's role, from a file, and from an encrypted one."""
    key = {"access_key_id": bucket.access_key_id, "secret_access_key": bucket.secret_access_key}
    aws = {f"aws_{name}": value for name, value in key.items()}
    profile, secret, identity = tmp_path / "profile", tmp_path / "secret", pyrage.x25519.Identity.generate()
    profile.write_text("\n".join(["[default]", *(f"{name} = {value}" for name, value in aws.items())]))
    (tmp_path / "identity.txt").write_text(str(identity))
    is_encrypted = way == "encrypted file"
    content = bucket.secret_access_key.encode()
    secret.write_bytes(pyrage.encrypt(content, [identity.to_public()]) if is_encrypted else content)
    in_file = {"access_key_id": bucket.access_key_id, "secret_access_key_file": str(secret)}
    changes = {
        "file": in_file,
        "encrypted file": in_file,
        "systemd": in_file | {"secret_access_key_file": "/nowhere/secret"},
    }.get(way, {"access_key_id": ""})
    destination = {name: value for name, value in bucket.destination().items() if name not in key}
    exporting.deliver_to(destination | changes)
    exporting.database.load(events(3), segment_no=0)
    with machine(s3, bucket) as metadata:
        variables = {
            "AWS_SHARED_CREDENTIALS_FILE": str(profile if way == "profile" else tmp_path / "none"),
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
            "AWS_EC2_METADATA_DISABLED": str(way != "machine").lower(),
        } | ({name.upper(): value for name, value in aws.items()} if way == "variables" else {})
        variables |= {"CREDENTIALS_DIRECTORY": str(tmp_path)} if way == "systemd" else {}
        variables |= {"EVOTHESIS_SECRETS_IDENTITY_PATH": str(tmp_path / "identity.txt")} if is_encrypted else {}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = begin(exporting).wait(60)

    assert 0 == code, (exporting.appliance.folder / "export.log").read_text()
    assert in_order(exporting.database.expected) == delivered(bucket.objects())


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

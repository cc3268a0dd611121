"""HTTPS without a proxy: a certificate and its key in, events over TLS out."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.appliance import Appliance
from tests.fix_appliance import MakeAppliance

NAME = "localhost"
EVENTS = [{"eventType": "click", "siteId": "a.example", "eventId": f"{number:032x}"} for number in range(50)]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = (folder / "cert.pem", folder / "key.pem")
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.fixture
def secure(make_appliance: MakeAppliance, tmp_path: Path) -> Iterator[tuple[Appliance, HTTPSConnection]]:
    """An appliance that speaks HTTPS, and a connection of somebody who knows its certificate."""
    cert, key = certificate(tmp_path)
    appliance = make_appliance({"server": {"tls_cert": str(cert), "tls_key": str(key)}}, start=False)
    appliance.start(with_database=False)
    port = int(appliance.url.rpartition(":")[2])
    connection = HTTPSConnection(NAME, port, context=ssl.create_default_context(cafile=str(cert)), timeout=10)
    connection.sock = connection._context.wrap_socket(  # type: ignore[attr-defined]  # of the library itself
        socket.create_connection(("127.0.0.1", port)), server_hostname=NAME
    )
    yield appliance, connection
    connection.close()


def test_https(secure: tuple[Appliance, HTTPSConnection]) -> None:
    """Events arrive over TLS, one request after another on one connection; a large body too, and the tracker."""
    appliance, connection = secure
    answers = []
    for body in (EVENTS[0], {"eventType": "batch", "events": EVENTS[1:]}):
        connection.request("POST", "/collect", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answers.append((response.status, json.loads(response.read())["accepted"]))
    connection.request("GET", "/tracking.js")
    script = connection.getresponse()

    assert [(200, 1), (200, 49)] == answers
    assert (200, True) == (script.status, len(script.read()) > 1000)
    appliance.wait_until_drained()
    assert [{"events": 50}] == appliance.rows("select count(*) as events from events_log")


def test_certificate_ends(secure: tuple[Appliance, HTTPSConnection]) -> None:
    """A certificate that ends tomorrow needs a person; the collector itself is asked over TLS."""
    findings = json.loads(secure[0].cli("doctor", "--format", "json").stdout)["findings"]

    states = {one["subject"]: one["state"] for one in findings}
    assert ("act", "ok") == (states["certificate"], states["collector"])


def test_plain_is_not_answered(secure: tuple[Appliance, HTTPSConnection]) -> None:
    """Who speaks HTTP to it gets no answer that anybody could read on the way."""
    port = int(secure[0].url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = plain.recv(4096)

    assert b"HTTP" not in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tls_cert": "cert.pem"}, "tls_cert and tls_key are set together, or not at all"),
        ({"tls_cert": "cert.pem", "tls_key": "absent.pem"}, "server.tls_cert and tls_key cannot be used: "),
        ({"tls_cert": "cert.pem", "tls_key": "other.pem"}, "server.tls_cert and tls_key cannot be used: "),
    ],
    ids=["no key", "absent", "another's key"],
)
def test_wrong_files(make_appliance: MakeAppliance, settings: dict[str, str], message: str) -> None:
    """A certificate without its key is a wrong configuration, said at the start."""
    appliance = make_appliance({"server": settings}, start=False)
    _, other = certificate(appliance.folder)
    other.rename(appliance.folder / "other.pem")
    certificate(appliance.folder)

    done = appliance.cli("serve", "--role", "collector")

    assert (2, True) == (done.returncode, message in done.stderr), done.stderr

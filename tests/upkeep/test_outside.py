"""Outside: what browsers are told to come to in, whether they get here out."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from evothesis.config import Config
from evothesis.upkeep.outside import certificate, outside
from tests import processes
from tests.test_tls import certificate as self_signed

BEGAN = 1_795_564_800  # 2026-11-25


class Proxy(BaseHTTPRequestHandler):
    """A proxy that leads to a collector, or to something else."""

    body = b'{"status": "ok", "spool": {}}'

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Other(Proxy):
    """Somebody else's page."""

    body = b"It works!"


@contextmanager
def serving(handler: type[Proxy], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that runs, at its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def found(url: str) -> list[tuple[str, str]]:
    """What is found about an address."""
    config = msgspec.convert({"server": {"public_url": url}}, Config)
    return [(finding.state, finding.found.partition(":")[0]) for finding in outside(config)]


def test_leads_here() -> None:
    """A collector that answers by its name is well; that the name is of this machine only is noted."""
    with serving(Proxy) as port:
        said = found(f"http://localhost:{port}")

    assert ["note", "ok"] == [state for state, _ in said]


def test_leads_elsewhere() -> None:
    """Somebody else's page at the address is a finding."""
    with serving(Other) as port:
        assert "act" == found(f"http://localhost:{port}")[-1][0]


def test_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that browsers do not believe is told of, and of another one how long it is good."""
    path, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, key)

    with serving(Proxy, context) as port:
        unknown = found(f"https://localhost:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        known = found(f"https://localhost:{port}")

    assert ("act", "browsers do not believe https") == unknown[-1]
    assert [("ok", "of the proxy; good for 1.0 days"), "ok"] == [known[-2], known[-1][0]]


@pytest.mark.parametrize(("hours", "state"), [(10, "ok"), (11, "act")])
def test_old_certificate(hours: int, state: str) -> None:
    """What a proxy should have renewed long ago is a finding, however short-lived it is."""
    said = {"notBefore": "Nov 25 00:00:00 2026 GMT", "notAfter": "Nov 25 12:00:00 2026 GMT"}

    assert state == certificate(said, BEGAN + hours * 3600).state


@pytest.mark.parametrize("host", ["nowhere.invalid", "localhost:PORT"])
def test_nobody_there(host: str) -> None:
    """A name without an address, and a port that nobody listens on, are findings."""
    assert "act" == found(f"https://{host.replace('PORT', str(processes.UNHEARD_PORT))}")[-1][0]


def test_not_told() -> None:
    """Where nobody has said where browsers come to it cannot be tried."""
    assert [("note", "nobody says where browsers reach this machine")] == found("")

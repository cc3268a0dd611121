"""Wire: a proxy between the exporter and an S3 server, to see what is asked and to lose, forge or damage it.

The server checks signatures, so that requests pass as they are, Host included.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

TIMEOUT_SECONDS = 20
CODES = {403: b"AccessDenied", 501: b"NotImplemented", 503: b"SlowDown"}


class Exchange(NamedTuple):
    """A request that passed, and the status that the server answered; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    status: int


class Fault:
    """What happens on the wire: nothing, unless a test says otherwise."""

    def passes(self) -> bool:
        """Whether the next request reaches the server; the connection of one that does not is closed."""
        return True

    def body(self, body: bytes) -> bytes:
        """The body of a request as the server gets it."""
        return body

    def status(self, exchange: Exchange) -> int | None:
        """The status that the exporter is told; None: no answer, the connection is closed."""
        return exchange.status


class Wire:
    """The proxy's address, and all that passed."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint` is the exporter's view of the server."""
        self.endpoint = endpoint
        self.exchanges: list[Exchange] = []


def _ask(upstream: str, asked: BaseHTTPRequestHandler, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """Pass a request on; what the server answers."""
    connection = http.client.HTTPConnection(upstream.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
    connection.putrequest(asked.command, asked.path, skip_host=True, skip_accept_encoding=True)
    for name, value in asked.headers.items():
        if name.lower() not in ("expect", "connection"):
            connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def _answer(asked: BaseHTTPRequestHandler, status: int, response: http.client.HTTPResponse, content: bytes) -> None:
    """Answer as the server did, or with another status."""
    asked.send_response_only(status)
    if status == response.status:
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                asked.send_header(name, value)
    else:
        content = b"<Error><Code>%b</Code></Error>" % CODES[status] if asked.command != "HEAD" else b""
    length = response.headers["Content-Length"] if asked.command == "HEAD" else str(len(content))
    asked.send_header("Content-Length", length or "0")
    asked.send_header("Connection", "close")
    asked.end_headers()
    asked.wfile.write(content)


@contextmanager
def wire(upstream: str, fault: Fault | None = None) -> Iterator[Wire]:
    """A proxy in front of `upstream` until the block ends."""
    acting = fault or Fault()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65_537)
            if self.raw_requestline and self.parse_request():
                self._pass_on()
            self.close_connection = True

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not acting.passes():
                return
            response, content = _ask(upstream, self, acting.body(body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            exchange = Exchange(self.command, self.path, headers, response.status)
            made.exchanges.append(exchange)
            if (status := acting.status(exchange)) is not None:
                _answer(self, status, response, content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Wire(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

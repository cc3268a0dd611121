"""Client: one HTTP request at a time, byte for byte as the test says it, and the answer as it came."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tests.agents import BROWSER

TIMEOUT_SECONDS = 20
JSON_TYPE = {"Content-Type": "application/json"}
BROWSERS = JSON_TYPE | {"User-Agent": BROWSER}

Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]]


class Answer(NamedTuple):
    """What a server said; header names have any case, as in `http.client`."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """The body, which must be JSON."""
        assert "application/json" == self.headers.get_content_type()
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the machine's word for it; the answer must be an error of the contract's form."""
        body = self.json
        assert {"error"} == set(body), body
        assert {"code", "message"} == set(body["error"]), body
        assert body["error"]["message"]
        return self.status, body["error"]["code"]


def ask(base: str, method: str, path: str, *, body: bytes | None = None, headers: Headers = ()) -> Answer:
    """Send one request on a connection of its own; only Host and Content-Length are added."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        # a refusal that came before all was sent is there to be read
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def collect(base: str, document: object, headers: Mapping[str, str | bytes] | None = None) -> Answer:
    """POST a JSON document, or bytes as they are, to /collect, as a browser does."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return ask(base, "POST", "/collect", body=body, headers={**BROWSERS, **(headers or {})})

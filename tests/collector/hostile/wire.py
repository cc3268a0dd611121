"""Wire: bytes on a connection, and what is answered; rows 1 to 23 of the corpus are made of it."""

from __future__ import annotations

from typing import NamedTuple

Said = tuple[int, str]  # an answer's status, and the code of an error

EVENT = b'{"eventType":"t","siteId":"SITE"}'
TAKEN = (200, "")
NOT_HTTP = [(400, "http_invalid")]
TYPE = b"Content-Type: text/plain\r\n"
LENGTH = b"Content-Length: LENGTH\r\n"
START = b"POST /collect HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
CHUNKED = START + HOST + TYPE + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = b"0\r\n\r\n"


class Wire(NamedTuple):
    """Bytes, and what is answered before the connection ends; one that is left open ends with another 404.

    `BODY` stands for an event of `SITE`, `LENGTH` and `HEXLENGTH` for the number of its bytes; `CANARY` is never seen
    again.
    """

    row: int
    name: str
    data: bytes
    answers: list[Said]
    stored: int = 0
    is_open: bool = False

    @property
    def id(self) -> str:
        """Its name beside others."""
        return f"{self.row} {self.name}"

    def sent(self, site: str) -> bytes:
        """The bytes."""
        body = EVENT.replace(b"SITE", site.encode())
        data = self.data.replace(b"HEXLENGTH", b"%x" % len(body)).replace(b"LENGTH", b"%d" % len(body))
        return data.replace(b"BODY", body).replace(b"SITE", site.encode())


def post(lines: bytes = b"", *, start: bytes = START, host: bytes = HOST, length: bytes = LENGTH) -> bytes:
    """A POST of an event, with parts of its head replaced."""
    return start + host + TYPE + length + lines + b"\r\nBODY"


def get(target: bytes, *, method: bytes = b"GET", lines: bytes = b"") -> bytes:
    """A request without a body."""
    return method + b" " + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


def refused(row: int, **cases: bytes) -> list[Wire]:
    """What is no HTTP."""
    return [Wire(row, name.replace("_", " "), data, NOT_HTTP) for name, data in cases.items()]

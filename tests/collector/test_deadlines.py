"""Deadlines: however slowly a request comes, its connection ends within ten seconds; others are served meanwhile."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

from tests.appliance import Appliance
from tests.collector.test_connection import ask, event, post, statuses

SECONDS_MAX = 10
DRIP_SECONDS = 0.25
STATUS = re.compile(rb"HTTP/1\.[01] (\d+) ")

HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LONG = HEAD + b"Content-Length: 1000\r\n\r\n"
LARGE = HEAD + b"Content-Length: 100000\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
NOWHERE = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"

# what is sent at once, and what is sent again and again behind it; rows 3 to 5 of the corpus among them
SLOW: dict[str, tuple[bytes, bytes, list[int]]] = {
    "nothing": (b"", b"", []),
    "half a head": (HEAD, b"", [408]),
    "a head in drips": (HEAD, b"X-Drip: y\r\n", [408]),
    "a method in drips": (b"P", b"", [408]),
    "line ends in drips": (b"", b"\r\n", [408]),
    "no body": (LONG, b"", [408]),
    "no large body": (LARGE, b"", [408]),
    "a body in drips": (LONG, b" ", [408]),
    "a large body in drips": (LARGE, b" ", [408]),
    "no chunk": (CHUNKED, b"", [408]),
    "chunks in drips": (CHUNKED, b"1\r\n \r\n", [408]),
    "a chunk's size in drips": (CHUNKED, b"0", [408]),
    "a chunk's extension in drips": (CHUNKED + b"5;", b"x", [408]),
    "trailers in drips": (CHUNKED + b"1\r\n \r\n0\r\n", b"X-Drip: y\r\n", [408]),
    "behind a plain answer": (post(b"{") + b"P", b"", [400, 408]),
    "a body behind a plain answer": (post(b"{") + LONG, b" ", [400, 408]),
    "behind another answer": (NOWHERE + HEAD, b"X-Drip: y\r\n", [404, 408]),
    "chunks behind another answer": (NOWHERE + CHUNKED, b"1\r\n \r\n", [404, 408]),
    "a body for nobody": (LONG.replace(b"/collect", b"/nowhere"), b" ", [404]),
    "a body for a GET": (LONG.replace(b"POST /collect", b"GET /health"), b" ", [200]),
    "expects": (LONG.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), b" ", [100, 408]),
    "upgrade": (LONG.replace(b"\r\n\r\n", b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), b" ", [408]),
    "HTTP/1.0": (LONG.replace(b"HTTP/1.1", b"HTTP/1.0"), b" ", [408]),
}
# a head that takes nearly all the time, and then a body that begins as late
LATE_SECONDS = 7
MIXED: dict[str, tuple[bytes, bytes]] = {
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "a body": (LONG, b" "),
    "large": (LARGE, b" "),
}


def drip(sockets: dict[str, socket.socket], drops: dict[str, Iterator[bytes]]) -> dict[str, tuple[list[int], float]]:
    """Send drops until every connection has ended; the answers of each, and the seconds that it took."""
    began = time.monotonic()
    received = dict.fromkeys(sockets, b"")
    seconds: dict[str, float] = {}
    with selectors.DefaultSelector() as selector:
        for name, connection in sockets.items():
            connection.setblocking(False)  # noqa: FBT003 - its only argument
            selector.register(connection, selectors.EVENT_READ, name)
        while selector.get_map() and time.monotonic() - began < 2 * SECONDS_MAX:
            for key, _ in selector.select(DRIP_SECONDS):
                data = receive(sockets[key.data])
                received[key.data] += data
                if not data:
                    seconds[key.data] = time.monotonic() - began
                    selector.unregister(sockets[key.data])
            for key in list(selector.get_map().values()):
                send(sockets[key.data], next(drops[key.data]))
    said = {name: [int(status) for status in STATUS.findall(data)] for name, data in received.items()}
    return {name: (said[name], seconds.get(name, float("inf"))) for name in sockets}


def receive(connection: socket.socket) -> bytes:
    """What has come; nothing when the connection has ended, however."""
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


def send(connection: socket.socket, data: bytes) -> None:
    """Send a drop, if anybody listens still."""
    try:
        connection.send(data)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        return


def again(drop: bytes) -> Iterator[bytes]:
    """A drop for ever."""
    while True:
        yield drop


def late(head: bytes, drop: bytes) -> Iterator[bytes]:
    """A head in pieces, whose last one comes late; then drops."""
    pieces = int(LATE_SECONDS / DRIP_SECONDS)
    size = len(head) // pieces
    for number in range(pieces):
        yield head[number * size : (number + 1) * size]
    yield head[pieces * size :]
    yield from again(drop)


def test_slow_requests(collector: Appliance, site: str) -> None:
    """A request that does not come to an end is told so, and its connection ends, within ten seconds in all."""
    address = urlsplit(collector.url)
    names = [*SLOW, *(f"late {name}" for name in MIXED)]
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(socket.create_connection((address.hostname, address.port))) for name in names
        }
        for name, (begin, _, _) in SLOW.items():
            sockets[name].sendall(begin)
        drops = {name: again(drop) for name, (_, drop, _) in SLOW.items()}
        drops |= {f"late {name}": late(*parts) for name, parts in MIXED.items()}
        found = drip(sockets, drops)

    expected = {name: said for name, (_, _, said) in SLOW.items()} | {f"late {name}": [408] for name in MIXED}
    assert expected == {name: said for name, (said, _) in found.items()}
    assert {} == {name: seconds for name, (_, seconds) in found.items() if seconds > SECONDS_MAX}
    assert [200] == statuses(ask(collector, post(event(site))))

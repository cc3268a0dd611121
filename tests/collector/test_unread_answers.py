"""Senders that do not read their answers cost little, and find each of them when they do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.appliance import Appliance
from tests.collector.test_connection import READ_SECONDS_MAX, parse, post, statuses
from tests.collector.test_doors import TYPE

pytestmark = pytest.mark.usefixtures("unharmed")

GROWTH_BYTES_MAX = 16 * 2**20  # of both collectors together, for one sender
UNREAD_BYTES_MAX = 64 * 2**20  # what a sender gets rid of in the end, if nobody stops it
STUCK_SECONDS = 1.0


def memory_bytes(appliance: Appliance) -> int:
    """What the collectors have of their own."""
    pids = [pid for pid, title in appliance.processes().items() if "collector" in title]
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("RssAnon:")[2].split()[0]) * 1024 for text in texts)


PADDED = [TYPE, f"X-Padding: {'x' * 1_000}"]
KINDS = {
    "plain": (post(b"{", headers=PADDED), [400]),
    "aiohttp": (post(b"{", headers=PADDED, target="/collect?x"), [400]),
    "large": (b"GET /tracking.js HTTP/1.1\r\nHost: x\r\nX-Padding: %b\r\n\r\n" % (b"x" * 1_000), [200]),
    "in turn": (post(b"{", headers=PADDED) + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", [400, 404]),
}


def send_until_stuck(connection: socket.socket, request: bytes) -> int:
    """Send a request again and again until nothing more is taken; returns the bytes that were."""
    connection.settimeout(STUCK_SECONDS)
    block, sent = request * 500, 0
    with suppress(TimeoutError):
        while sent < UNREAD_BYTES_MAX:
            sent += connection.send(block[sent % len(request) :])
    return sent


@contextmanager
def deaf(appliance: Appliance) -> Iterator[socket.socket]:
    """A connection whose end has hardly any room for answers."""
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        address = urlsplit(appliance.url)
        connection.connect((address.hostname, address.port))
        yield connection


def listen(connection: socket.socket) -> None:
    """Make room for answers."""
    connection.settimeout(READ_SECONDS_MAX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_not_read(collector: Appliance, kind: str) -> None:
    """A sender that does not read its answers is no longer read either, and finds each of them when it does."""
    request, expected = KINDS[kind]
    before = memory_bytes(collector)
    with deaf(collector) as connection:
        sent = send_until_stuck(connection, request)
        grown = memory_bytes(collector) - before
        listen(connection)
        rest = request[sent % len(request) :]
        rest += b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sending = threading.Thread(target=connection.sendall, args=[rest])
        sending.start()
        with connection.makefile("rb") as stream:
            found = statuses(list(parse(stream)))
        sending.join()

    assert sent < UNREAD_BYTES_MAX
    assert grown < GROWTH_BYTES_MAX
    assert [*expected * (sent // len(request) + 1), 404] == found

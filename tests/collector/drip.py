"""Drip: senders that hold connections without saying anything of worth, in a process of their own.

`python -m tests.collector.drip HOST PORT COUNT SECONDS KIND...` opens COUNT connections of each kind (of deaf ones
fewer), each from an address of its own in 127.0.0.0/8, and drips for so long, or until all were ended. It prints what
became of them as JSON: of each kind a list of `[seconds, status]`; seconds are null where one stayed open, the status
is 0 where nothing was said.
"""

from __future__ import annotations

import itertools
import json
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

SITE = "drip.example"
TICK_SECONDS = 1.0  # from one drop to the next of each connection
SLICES = 20  # of a second, in which each has its turn: all at once would be a flood
DEAF_LESS = 40  # as many times less of these: what they ask for is work

_HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
_EVENT = b'{"eventType":"t","siteId":"%b","data":"' % SITE.encode()
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_FIRST_CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)


def _head() -> Iterator[bytes]:
    yield _HEAD + b"X-Slow: "
    yield from itertools.repeat(b"x")


def _body() -> Iterator[bytes]:
    yield _HEAD + b"Content-Length: 1000\r\n\r\n" + _EVENT
    yield from itertools.repeat(b"x")


def _chunked() -> Iterator[bytes]:
    yield _HEAD + _CHUNKED + _FIRST_CHUNK
    yield from itertools.repeat(b"1\r\nx\r\n")


def _late() -> Iterator[bytes]:
    """A slow head, and then a slow body, each of which alone would come in time."""
    yield _HEAD + b"X-Slow: "
    yield from [b"x"] * 7
    yield b"\r\n" + _CHUNKED + _FIRST_CHUNK
    yield from itertools.repeat(b"1\r\nx\r\n")


def _silent() -> Iterator[bytes]:
    yield from itertools.repeat(b"")


def _deaf() -> Iterator[bytes]:
    """Requests whose answers are not read."""
    yield from itertools.repeat(b"GET /tracking.js HTTP/1.1\r\nHost: x\r\n\r\n" * 50)


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "head": _head,
    "body": _body,
    "chunked": _chunked,
    "late": _late,
    "silent": _silent,
    "deaf": _deaf,
}


class Drip:
    """One connection."""

    def __init__(self, kind: str, address: tuple[str, int], number: int) -> None:
        """Open it, from the address with that number."""
        self.kind = kind
        self.status = 0
        self.seconds: float | None = None
        self._pieces = KINDS[kind]()
        self.socket = socket.socket()
        if kind == "deaf":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.bind((f"127.{2 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0))
        self.socket.connect(address)
        self.socket.setblocking(False)  # noqa: FBT003 - its only argument
        self._began_at = time.monotonic()

    def say(self) -> None:
        """The next piece, as far as there is room for it."""
        try:
            with suppress(BlockingIOError):
                self.socket.send(next(self._pieces))
        except ConnectionError:
            if self.kind == "deaf":  # of others the end is heard
                self._end()

    def hear(self) -> None:
        """What was answered, or the end."""
        try:
            data = self.socket.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self._end()
        elif data.startswith(b"HTTP/1.1 "):
            self.status = int(data.split()[1])

    def _end(self) -> None:
        self.seconds = time.monotonic() - self._began_at
        self.socket.close()


def run(
    address: tuple[str, int], count: int, seconds: float, kinds: list[str]
) -> dict[str, list[tuple[float | None, int]]]:
    """Drip."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    counts = {kind: count // DEAF_LESS if kind == "deaf" else count for kind in kinds}
    numbered = list(enumerate(kind for kind in kinds for _ in range(counts[kind])))
    slices: list[list[Drip]] = []
    until = time.monotonic() + seconds
    with selectors.DefaultSelector() as ready:
        for step in itertools.count():
            if step < SLICES:
                slices.append([Drip(kind, address, number) for number, kind in numbered[step::SLICES]])
                for drip in slices[step]:
                    if drip.kind != "deaf":
                        ready.register(drip.socket, selectors.EVENT_READ, drip)
            for drip in slices[step % SLICES]:
                if drip.seconds is None:
                    drip.say()
            _listen(ready, time.monotonic() + TICK_SECONDS / SLICES)
            drips = [drip for part in slices for drip in part]
            if time.monotonic() >= until or (step >= SLICES and all(drip.seconds is not None for drip in drips)):
                break
    return {kind: [(drip.seconds, drip.status) for drip in drips if drip.kind == kind] for kind in kinds}


def _listen(ready: selectors.BaseSelector, until: float) -> None:
    while (wait := until - time.monotonic()) > 0:
        for key, _ in ready.select(wait):
            drip = key.data
            drip.hear()
            if drip.seconds is not None:
                ready.unregister(key.fileobj)


if __name__ == "__main__":
    host, port, count, seconds, *kinds = sys.argv[1:]
    print(json.dumps(run((host, int(port)), int(count), float(seconds), kinds)))  # noqa: T201 - for the test that started it

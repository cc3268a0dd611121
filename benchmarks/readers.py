"""Readers: how many, and where the stream is, in; how many events each of them was sent out.

One process reads for all of them, and does as little as can be done with what comes: it counts. Each is a WebSocket as
RFC 6455 describes it; what a server sends is not masked, so that its frames can be counted as they are.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import selectors
import socket
import sys
import time
from urllib.parse import urlsplit

RECEIVE_BYTES_MAX = 2**20
CONNECT_SECONDS_MAX = 10
EVENT = b'"event_id":'  # the first member of each event
UPGRADE = (
    "GET /stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
TEXT, PING = 0x1, 0x9
SHORT_MAX, MEDIUM = 125, 126


class Reader:
    """One of them; `events` were sent to it, the last at `last_at` (monotonic seconds)."""

    def __init__(self, host: str, port: int, token: str) -> None:
        """Return when it is connected. Raises RuntimeError."""
        self.events = 0
        self.last_at = 0.0
        self._rest = bytearray()
        self.socket = socket.create_connection((host, port), CONNECT_SECONDS_MAX)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(UPGRADE.format(host=f"{host}:{port}", token=token, key=key).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(1)  # what follows is the first frame
            if not answer or (answer.endswith(b"\r\n\r\n") and b" 101 " not in answer):
                message = f"the stream refused a reader: {answer.splitlines()[:1]}"
                raise RuntimeError(message)
        self.socket.settimeout(0)

    def read(self) -> bool:
        """Take what has come; False when the server hung up."""
        try:
            data = self.socket.recv(RECEIVE_BYTES_MAX)
        except BlockingIOError:
            return True
        self._rest += data
        while (end := self._frame_end()) is not None:
            first, kind = end[0], self._rest[0] & 0x0F
            if kind == TEXT:
                if found := self._rest.count(EVENT, first, end[1]):
                    self.events += found
                    self.last_at = time.monotonic()
            elif kind == PING:  # no payload worth answering with; an empty mask is one
                self.socket.send(b"\x8a\x80\0\0\0\0")
            del self._rest[: end[1]]
        return bool(data)

    def _frame_end(self) -> tuple[int, int] | None:
        """Where the payload of the first frame begins and ends; None while not all of it is there."""
        rest = self._rest
        if len(rest) < 2:  # noqa: PLR2004 - bytes of the shortest head
            return None
        length, begin = rest[1] & 0x7F, 2
        if length > SHORT_MAX:
            begin = 4 if length == MEDIUM else 10
            length = int.from_bytes(rest[2:begin]) if len(rest) >= begin else 1 << 62
        return (begin, begin + length) if len(rest) >= begin + length else None


def main() -> None:
    """Read until stdin ends, and then until nothing came for a second."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    parser.add_argument("url", help="of the operator's listener")
    parser.add_argument("--readers", type=int, required=True)
    parser.add_argument("--token", required=True)
    arguments = parser.parse_args()
    target = urlsplit(arguments.url)
    readers = [Reader(str(target.hostname), int(target.port or 80), arguments.token) for _ in range(arguments.readers)]
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    began = time.process_time()
    is_told = False
    while found := selector.select(1 if is_told else None):
        for key, _ in found:
            if key.data is None:
                is_told = True
                selector.unregister(sys.stdin)
            elif not key.data.read():
                sys.exit("Error: the server hung up")
    result = {
        "events": [reader.events for reader in readers],
        "last_at": [reader.last_at for reader in readers],
        "cpu_seconds": time.process_time() - began,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()

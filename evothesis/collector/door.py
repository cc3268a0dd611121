"""Door: the connections of one collector process; how many there may be, and for how long."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from evothesis.collector.limits import address_prefix
from evothesis.collector.reception import Receipt, Reception
from evothesis.collector.stranger import Stranger
from evothesis.config import Config

if TYPE_CHECKING:
    from evothesis.collector.connection import Connection

SWEEP_SECONDS = 1.0
IDLE_SECONDS_MAX = 3_600  # longer than proxies keep a connection, so that none sends into one that closes
CROWDED_SHARE = 0.5  # of the connections that there may be: with more, idle ones end soon
CROWDED_IDLE_SECONDS_MAX = 10
OTHER_DESCRIPTORS = 128  # open files that are no connections


class Door:
    """The connections, and what they share."""

    def __init__(self, config: Config, reception: Reception, strangers: Callable[[], Stranger]) -> None:
        """`strangers` makes the protocol for what is not plain."""
        self.reception = reception
        self.collect_path = config.server.collect_path.encode()
        self.strangers = strangers
        self.connections: set[Connection] = set()
        self.now = time.monotonic()  # as of the last sweep
        self._connections_max = min(config.limits.connections, _descriptors(config.limits.connections))
        self._connections_per_address_max = config.limits.connections_per_address
        self._per_address: Counter[str] = Counter()
        self._second = 0
        self._heads: dict[str | None, bytes] = {}

    @property
    def idle_seconds_max(self) -> float:
        """How long a connection may have nothing to say between two requests."""
        is_crowded = len(self.connections) > self._connections_max * CROWDED_SHARE
        return CROWDED_IDLE_SECONDS_MAX if is_crowded else IDLE_SECONDS_MAX

    def enter(self, connection: Connection, peer: str | None) -> bool:
        """Let a connection in, unless there are too many: of all, or of its address."""
        prefix = address_prefix(peer)
        if len(self.connections) >= self._connections_max or (prefix and self._is_full_for(prefix, peer)):
            return False
        self.connections.add(connection)
        if prefix:
            self._per_address[prefix] += 1
        return True

    def leave(self, connection: Connection, peer: str | None) -> None:
        """Forget a connection."""
        if connection in self.connections:
            self.connections.remove(connection)
            if prefix := address_prefix(peer):
                self._per_address[prefix] -= 1
                if not self._per_address[prefix]:
                    del self._per_address[prefix]

    async def sweep(self) -> None:
        """End, for ever, connections whose request takes too long to arrive."""
        while True:
            self.now = time.monotonic()
            for connection in list(self.connections):
                connection.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def close(self, *, seconds_max: float) -> None:
        """Take no more requests; returns when those under way are answered."""
        under_way = [connection.close() for connection in list(self.connections)]
        if waiting := [durable for durable in under_way if durable]:
            await asyncio.wait(waiting, timeout=seconds_max)
            await asyncio.sleep(0)  # their answers are written by callbacks that stand behind this one

    def answer(self, receipt: Receipt, origin: str | None) -> bytes:
        """200 to a page of that origin; its head changes once a second."""
        self.reception.settled(receipt)
        self.reception.answered(HTTPStatus.OK)
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._heads.clear()
        answered = self.reception.origins.answered(origin)
        head = self._heads.get(answered)
        if head is None:
            head = self._heads[answered] = head_lines(HTTPStatus.OK, self.reception.origins.headers(origin))
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(receipt.body), receipt.body)

    def _is_full_for(self, prefix: str, peer: str | None) -> bool:
        limit = self._connections_per_address_max
        is_full = 0 < limit <= self._per_address[prefix]
        return is_full and not (peer and self.reception.is_proxy(peer))


def head_lines(status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """An answer's first lines, all but its length."""
    lines = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", **headers}
    lines["Date"] = formatdate(usegmt=True)
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {status.phrase}\r\n{text}".encode()


def _descriptors(wanted: int) -> int:
    """How many connections the system lets this process have, when it asked for as many as are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + OTHER_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, wanted + OTHER_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        soft = enough
    return wanted if soft == resource.RLIM_INFINITY else soft - OTHER_DESCRIPTORS

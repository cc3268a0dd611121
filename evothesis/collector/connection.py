"""Connection: a sender's bytes in, answers out.

Nearly all requests are plain: a `POST` of events, whole and by the book. They are answered here, with no task and no
request object for each. Everything else goes to aiohttp byte for byte, so that its rules hold for it: other methods and
paths, chunks, `Expect`, pipelines, mistakes. One parser watches all bytes; it knows where a request ends, and thereby
whose the next one is. No request may take long to arrive, whoever answers it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import cast

from aiohttp.web_protocol import RequestHandler

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.message import Message
from evothesis.collector.reception import BODY_SECONDS_MAX, Reception, demand_type, failure

SWEEP_SECONDS = 1.0
SILENT_SECONDS_MAX = 30  # before the first byte, or while answers wait to be read
IDLE_SECONDS_MAX = 3_600  # longer than proxies keep a connection, so that none sends into one that closes


class Door:
    """The connections of one collector process, and their time limits."""

    def __init__(self, reception: Reception, collect_path: str, strangers: Callable[[], RequestHandler]) -> None:
        """`strangers` makes the protocol for what is not plain: an aiohttp.web.Server."""
        self.reception = reception
        self.collect_path = collect_path.encode()
        self.strangers = strangers
        self.connections: set[Connection] = set()
        self.now = time.monotonic()  # as of the last sweep
        self._second = 0
        self._heads: dict[str | None, bytes] = {}

    def __call__(self) -> Connection:
        """A protocol for a new connection."""
        return Connection(self)

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

    def answer(self, body: bytes, origin: str | None) -> bytes:
        """200 to a page of that origin; its head changes once a second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._heads.clear()
        answered = self.reception.origins.answered(origin)
        head = self._heads.get(answered)
        if head is None:
            head = self._heads[answered] = _head(HTTPStatus.OK, self.reception.origins.headers(origin))
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


class Connection(asyncio.Protocol):
    """One connection. Its requests are handled one after another; what arrives meanwhile waits."""

    def __init__(self, door: Door) -> None:
        """Nothing was received yet."""
        self._door = door
        self._message = Message(door.collect_path)
        self._transport: asyncio.Transport | None = None
        self._peer: str | None = None
        self._held = bytearray()  # of a request that is not complete, or that waits behind another
        self._durable: asyncio.Future[None] | None = None  # what the answer under way waits for
        self._stranger: RequestHandler | None = None
        self._is_strangers = False  # whether the request that arrives is aiohttp's
        self._is_full = False  # whether the other end does not read its answers
        self._is_closing = False
        self._is_used = False
        self._touched_at = door.now
        self._began_at: float | None = None  # of the request that arrives

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no common class
        peername = transport.get_extra_info("peername")
        self._peer = peername[0] if peername else None  # it may be gone already
        self._door.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The other end is gone; what waits to be on disk goes there all the same."""
        self._transport = None
        self._door.connections.discard(self)
        if self._stranger:
            self._stranger.connection_lost(error)

    def pause_writing(self) -> None:
        """The other end does not read: take nothing more from it."""
        self._is_full = True
        if self._stranger:
            self._stranger.pause_writing()
        self._regulate()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_full = False
        if self._stranger:
            self._stranger.resume_writing()
        self._regulate()

    def data_received(self, data: bytes) -> None:
        """Bytes of one request, or of a part of it, or of several."""
        self._touched_at, self._is_used = self._door.now, True
        if self._durable:
            self._held += data
            self._regulate()
            return
        if self._is_strangers and not self._is_between_requests():
            self._watch(data)
            self._message.clear()
            self._give(data)
            return
        self._is_strangers = False
        if self._is_closing:
            return
        self._held += data
        self._watch(data)
        if not self._message.may_be_plain():
            self._hand_over()
        elif self._message.completed:
            self._take()

    def sweep(self) -> None:
        """End the connection when a request takes too long to arrive, or none comes, or answers are not read."""
        if not self._transport:
            return
        quiet_seconds = self._door.now - self._touched_at
        if self._is_full or self._transport.is_closing():
            if quiet_seconds > SILENT_SECONDS_MAX:
                self._transport.abort()
        elif self._durable or self._is_in_strange_hands():
            pass
        elif self._began_at is not None:
            if self._door.now - self._began_at > BODY_SECONDS_MAX:
                self._is_closing = True
                message = f"the request took over {BODY_SECONDS_MAX} s"
                self._refuse(EnvelopeError(HTTPStatus.REQUEST_TIMEOUT, "request_too_slow", message))
        elif quiet_seconds > (IDLE_SECONDS_MAX if self._is_used else SILENT_SECONDS_MAX):
            self._transport.close()

    def close(self) -> asyncio.Future[None] | None:
        """Take no more requests; returns what the answer under way waits for. aiohttp closes what it has in hand."""
        self._is_closing = True
        if self._durable:
            if self._stranger:  # it is idle, and would close the transport under the answer
                self._stranger.transport = None
                self._stranger.connection_lost(None)
                self._stranger = None
        elif self._transport and not self._is_in_strange_hands():
            self._transport.close()
        return self._durable

    def _watch(self, data: bytes) -> None:
        completed = self._message.completed
        self._message.feed(data)
        if not self._message.is_under_way:
            self._began_at = None
        elif self._began_at is None or self._message.completed > completed:
            self._began_at = self._door.now

    def _take(self) -> None:
        """Take in the request that is complete."""
        message, reception = self._message, self._door.reception
        raw_headers, body = message.headers, bytes(message.body)
        message.restart()
        self._held.clear()
        origin = None
        try:
            head = reception.head(raw_headers, self._peer)
            origin = head.origin
            reception.admit(head)
            demand_type(head)
            receipt = reception.take(head, body)
        except Exception as error:  # noqa: BLE001 - whatever it is, the sender is told that it failed
            self._refuse(error, origin)
            return
        if receipt.durable:
            self._durable = receipt.durable
            receipt.durable.add_done_callback(partial(self._settle, receipt.body, origin))
        else:
            self._write(self._door.answer(receipt.body, origin))

    def _settle(self, body: bytes, origin: str | None, durable: asyncio.Future[None]) -> None:
        """Answer, now that it is known whether the events are on disk."""
        self._durable = None
        if error := durable.exception():
            self._refuse(error, origin)
        else:
            self._write(self._door.answer(body, origin))
        if self._held and self._transport:
            data = bytes(self._held)
            self._held.clear()
            self._regulate()
            self.data_received(data)

    def _refuse(self, error: BaseException, origin: str | None = None) -> None:
        failed = failure(error)
        head = _head(HTTPStatus(failed.status), {**self._door.reception.origins.headers(origin), **failed.headers})
        closing = b"Connection: close\r\n" if self._is_closing else b""
        self._write(b"%b%bContent-Length: %d\r\n\r\n%b" % (head, closing, len(failed.body), failed.body))

    def _write(self, answer: bytes) -> None:
        if self._transport:
            self._transport.write(answer)
            if self._is_closing:
                self._transport.close()

    def _regulate(self) -> None:
        """Read only what can be handled, or held in one piece."""
        if not self._transport or self._transport.is_closing():
            return
        if self._is_full or (self._durable and self._held):
            self._transport.pause_reading()
        elif not self._is_enough_for_stranger():
            self._transport.resume_reading()

    def _hand_over(self) -> None:
        """Let aiohttp have the request that arrives, from its first byte."""
        if self._stranger is None and self._transport:
            self._stranger = self._door.strangers()
            self._stranger.connection_made(self._transport)
            if self._is_full:
                self._stranger.pause_writing()
        self._is_strangers = True
        data = bytes(self._held)
        self._held.clear()
        self._message.clear()
        self._give(data)

    def _give(self, data: bytes) -> None:
        if self._stranger:
            self._stranger.data_received(data)

    def _is_between_requests(self) -> bool:
        """Whether aiohttp has answered everything that it was given, and was given whole requests."""
        if self._message.is_under_way or self._is_in_strange_hands():
            return False
        self._message.restart()
        if self._stranger:
            self._stranger.keep_alive(True)  # noqa: FBT003 - its name for: do not count this as idle time
        return True

    def _is_enough_for_stranger(self) -> bool:
        if self._stranger is None:
            return False
        # it stops reading once, and does not look whether somebody else begins again
        is_paused = self._stranger._buffer_paused or self._stranger._reading_paused  # noqa: SLF001 - nothing else tells
        return bool(is_paused)

    def _is_in_strange_hands(self) -> bool:
        stranger = self._stranger
        if stranger is None or not self._is_strangers:
            return False
        waiter = stranger._waiter  # noqa: SLF001 - what aiohttp itself goes by when it closes idle connections
        return waiter is None or waiter.done()


def _head(status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """An answer's first lines, all but its length."""
    lines = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", **headers}
    lines["Date"] = formatdate(usegmt=True)
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {status.phrase}\r\n{text}".encode()

"""Connection: a sender's bytes in, answers out.

Nearly all requests are plain: a `POST` of events, whole and by the book. They are answered here, with no task and no
request object for each. Everything else goes to aiohttp byte for byte, so that its rules hold for it: other methods and
paths, chunks, `Expect`, pipelines, mistakes. One parser watches all bytes; it knows where a request ends, and thereby
whose the next one is. No request may take long to arrive, whoever answers it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import cast

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.door import Door, head_lines
from evothesis.collector.message import Message
from evothesis.collector.reception import Receipt, demand_type, failure
from evothesis.collector.stranger import Stranger, not_http

REQUEST_SECONDS_MAX = 9  # for a whole request, however it comes; with the second of the sweep it ends within ten
SILENT_SECONDS_MAX = 9  # before the first byte, or while answers wait to be read


class Connection(asyncio.Protocol):
    """One connection. Its requests are handled one after another; what arrives meanwhile waits."""

    def __init__(self, door: Door) -> None:
        """Nothing was received yet."""
        self._door = door
        self._message = Message(door.collect_path)
        self._transport: asyncio.Transport | None = None
        self._peer: str | None = None
        self._held = bytearray()  # of a request that is not complete, or that waits behind another
        self._counted_bytes = 0  # of what is held, by the reception
        self._durable: asyncio.Future[None] | None = None  # what the answer under way waits for
        self._stranger: Stranger | None = None
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
        if not self._door.enter(self, self._peer):
            self._is_closing = True
            self._refuse(EnvelopeError(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", "too many connections"))

    def connection_lost(self, error: Exception | None) -> None:
        """The other end is gone; what waits to be on disk goes there all the same."""
        self._transport = None
        self._held.clear()
        self._count()
        self._door.leave(self, self._peer)
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
        elif self._is_strangers and not self._is_between_requests():
            self._watch(data)
            self._message.clear()
            if not self._message.is_flood:
                self._give(data)
            if self._message.is_broken and self._stranger:
                self._stranger.fail(not_http())
        elif not self._is_closing:
            self._is_strangers = False
            self._held += data
            self._watch(data)
            if self._message.is_flood:
                self._held.clear()
                self._is_closing = True
                self._refuse(not_http())
            elif not self._message.may_be_plain():
                self._hand_over()
            elif self._message.completed:
                self._take()
        if self._held or self._counted_bytes:
            self._count()

    def sweep(self) -> None:
        """End the connection when a request takes too long to arrive, or none comes, or answers are not read."""
        if not self._transport:
            return
        quiet_seconds = self._door.now - self._touched_at
        if self._is_full or self._transport.is_closing():
            if quiet_seconds >= SILENT_SECONDS_MAX:
                self._transport.abort()
        elif self._began_at is not None and self._door.now - self._began_at >= REQUEST_SECONDS_MAX:
            self._end_late()
        elif self._durable or self._is_in_strange_hands():
            if self._message.is_broken and self._stranger:  # it may have come to the broken request only now
                self._stranger.fail(not_http())
        elif quiet_seconds >= (self._door.idle_seconds_max if self._is_used else SILENT_SECONDS_MAX):
            self._transport.close()

    def close(self) -> asyncio.Future[None] | None:
        """Take no more requests; returns what the answer under way waits for. aiohttp closes what it has in hand."""
        self._is_closing = True
        if self._durable:
            if self._stranger:  # it is idle, and would close the transport under the answer
                self._stranger.forget()
                self._stranger = None
        elif self._transport and not self._is_in_strange_hands():
            self._transport.close()
        return self._durable

    def _watch(self, data: bytes) -> None:
        completed = self._message.completed
        self._message.feed(data)
        if self._message.completed > completed:  # another one may have begun behind it
            self._began_at = self._door.now if self._message.is_under_way else None
        elif self._began_at is None:
            self._began_at = self._door.now

    def _end_late(self) -> None:
        """Answer a request that did not arrive in time, in its turn."""
        late = EnvelopeError(HTTPStatus.REQUEST_TIMEOUT, "request_too_slow", "the request took too long to arrive")
        if self._is_in_strange_hands():
            if self._stranger:
                self._stranger.fail(late)
        elif not self._durable:
            self._is_closing = True
            self._refuse(late)

    def _count(self) -> None:
        """Tell the reception what is held; when that is too much, this request is refused."""
        more_bytes = len(self._held) - self._counted_bytes
        self._counted_bytes = len(self._held)
        try:
            self._door.reception.hold(more_bytes)
        except EnvelopeError as error:
            self._is_closing = True
            self._held.clear()
            self._count()
            if not self._durable:
                self._refuse(error)

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
            receipt.durable.add_done_callback(partial(self._settle, receipt, origin))
        else:
            self._write(self._door.answer(receipt, origin))

    def _settle(self, receipt: Receipt, origin: str | None, durable: asyncio.Future[None]) -> None:
        """Answer, now that it is known whether the events are on disk."""
        self._durable = None
        if error := durable.exception():
            self._refuse(error, origin)
        else:
            self._write(self._door.answer(receipt, origin))
        if self._held and self._transport:
            data = bytes(self._held)
            self._held.clear()
            self._regulate()
            self.data_received(data)

    def _refuse(self, error: BaseException, origin: str | None = None) -> None:
        failed = failure(error)
        self._door.reception.answered(failed.status)
        head = head_lines(HTTPStatus(failed.status), {**self._door.reception.origins.headers(origin), **failed.headers})
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
        elif not (self._stranger and self._stranger.is_satisfied):
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

    def _is_in_strange_hands(self) -> bool:
        return self._is_strangers and self._stranger is not None and self._stranger.is_busy

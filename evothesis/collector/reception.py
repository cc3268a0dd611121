"""Reception: one whole request in, its answer and the promise of its durability out.

What both doors share: `connection`, which answers the plain request, and `http`, which knows all others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from evothesis.collector import intake
from evothesis.collector.commit import Committer
from evothesis.collector.decode import EnvelopeError
from evothesis.collector.limits import Limiter, address_prefix
from evothesis.collector.parse import site_of
from evothesis.config import Config
from evothesis.errors import SpoolError
from evothesis.event import encode_entry

log = logging.getLogger(__name__)

BODY_SECONDS_MAX = 10  # for the whole body, so that a drip cannot hold a connection
BODY_BYTES_AT_ONCE = 32_768  # of a larger one the redaction alone may keep others waiting
RETRY_AFTER_SECONDS = 5
CONTENT_TYPES = ("application/json", "text/plain")

# no credentials, ever: any origin may send, none may read anything but its own receipt
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

encode = msgspec.json.Encoder().encode

_WANTED = frozenset(b"content-type content-encoding user-agent origin referer dnt sec-gpc x-forwarded-for".split())


class Head(NamedTuple):
    """What is asked of a request's headers. Texts hold neither NUL nor lone surrogates."""

    peer: str | None
    content_type: str  # without its parameters
    encoding: str
    user_agent: str | None
    origin: str | None
    referer: str | None
    refuses: bool  # DNT: 1 or Sec-GPC: 1

    @property
    def page(self) -> str | None:
        """Where the request comes from, as far as a browser tells."""
        return self.origin if self.origin and self.origin != "null" else self.referer


class Failure(NamedTuple):
    """An answer other than 200."""

    status: int
    code: str
    message: str

    @property
    def body(self) -> bytes:
        """As JSON."""
        return encode({"error": {"code": self.code, "message": self.message}})

    @property
    def headers(self) -> dict[str, str]:
        """What stands beside the body."""
        return CORS | {"Retry-After": str(RETRY_AFTER_SECONDS)} if self.status in (429, 503) else CORS


class Receipt(NamedTuple):
    """The answer to a request that was understood; true as soon as `durable` is done."""

    body: bytes
    durable: asyncio.Future[None] | None  # None: there was nothing to keep


class Reception:
    """What requests are judged by, and where they are kept."""

    def __init__(self, config: Config, committer: Committer, *, salt: bytes) -> None:
        """`salt` hides addresses when [privacy] ip is "hash"; it never leaves the memory."""
        intake.prepare(config.privacy, config.enrichment)
        self._privacy = config.privacy
        self._enrichment = config.enrichment
        self._committer = committer
        self._salt = salt
        self._is_limited = bool(config.limits.per_address or config.limits.per_site)
        self._per_address = Limiter(config.limits.per_address)
        self._per_site = Limiter(config.limits.per_site)
        self._proxies = [ipaddress.ip_network(proxy) for proxy in config.server.proxies]

    def head(self, raw_headers: Iterable[tuple[bytes, bytes]], peer: str | None) -> Head:
        """The headers as they came, and the other end of the connection."""
        said: dict[bytes, bytes] = {}
        forwarded: list[bytes] = []
        for raw_name, value in raw_headers:
            name = raw_name.lower()
            if name in _WANTED:
                said.setdefault(name, value)
                if name == b"x-forwarded-for":
                    forwarded.append(value)
        content_type = said.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return Head(
            peer=self._client(peer, forwarded) if self._proxies else peer,
            content_type=content_type.decode("latin-1"),
            encoding=said.get(b"content-encoding", b"").lower().decode("latin-1"),
            user_agent=_text(said.get(b"user-agent")),
            origin=_text(said.get(b"origin")),
            referer=_text(said.get(b"referer")),
            refuses=said.get(b"dnt") == b"1" or said.get(b"sec-gpc") == b"1",
        )

    def admit(self, head: Head) -> None:
        """Raises EnvelopeError when a client or a site sends more than it may."""
        if not self._is_limited:
            return
        now = time.monotonic()
        wait = max(
            self._per_address.wait_seconds(address_prefix(head.peer), now),
            self._per_site.wait_seconds(site_of(head.page), now),
        )
        if wait:
            raise EnvelopeError(429, "too_many_requests", "more requests than are taken from one client or site")

    def take(self, head: Head, body: bytes) -> Receipt:
        """Take a body in, whatever its type. Raises EnvelopeError, and SpoolError when nothing can be kept."""
        return self._keep(self._judge(head, body))

    async def take_aside(self, head: Head, body: bytes) -> Receipt:
        """`take` for a body that may take long: other requests are handled meanwhile."""
        return self._keep(await asyncio.to_thread(self._judge, head, body))

    def _judge(self, head: Head, body: bytes) -> intake.Taken:
        request = intake.Request(
            received_at=datetime.now(UTC),
            body=body,
            encoding=head.encoding,
            peer=head.peer,
            user_agent=head.user_agent,
            page=head.page,
            refuses=head.refuses,
        )
        return intake.take(request, self._privacy, salt=self._salt, enrichment=self._enrichment)

    def _keep(self, taken: intake.Taken) -> Receipt:
        entry = taken.entry
        durable = None
        if entry.rows or entry.rejected or entry.withheld:
            rows = len(entry.rows) + len(entry.rejected)
            durable = self._committer.append(encode_entry(entry), rows, entry.received_at)
        return Receipt(encode(taken.answer), durable)

    def _client(self, peer: str | None, forwarded: list[bytes]) -> str | None:
        """The client's address: the connection's, or the last one in X-Forwarded-For that is no proxy of ours."""
        parts = [part.strip().decode("utf-8", "replace") for line in forwarded for part in line.split(b",")]
        while peer and parts and self._is_proxy(peer):
            peer = parts.pop()
        return peer

    def _is_proxy(self, peer: str) -> bool:
        try:
            ip = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(ip in network for network in self._proxies)


def demand_type(head: Head) -> None:
    """Raises EnvelopeError when the body is of a type that browsers do not send events in."""
    if head.content_type not in CONTENT_TYPES:
        raise EnvelopeError(415, "content_type_unsupported", "Content-Type may be application/json or text/plain")


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace").replace("\0", "\ufffd") if value else None


def failure(error: BaseException) -> Failure:
    """What a sender is told of an error; what nobody expected goes to the log."""
    if isinstance(error, EnvelopeError):
        return Failure(error.status, error.code, error.message)
    if isinstance(error, SpoolError):
        return Failure(503, "not_accepting", str(type(error).__doc__))
    log.error("Request failed.", exc_info=error)
    return Failure(503, "failed", "the request could not be handled")

"""Reception: one whole request in, its answer and the promise of its durability out.

What both doors share: `connection`, which answers the plain request, and `http`, which knows all others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import NamedTuple, Self

import msgspec

from evothesis.collector import intake
from evothesis.collector.allowed import Allowed, Origins
from evothesis.collector.commit import Committer
from evothesis.collector.decode import EnvelopeError
from evothesis.collector.limits import Limiter, address_prefix
from evothesis.collector.privacy.day_key import KEY_BYTES, DayKey
from evothesis.config import Config
from evothesis.errors import SpoolError
from evothesis.event import Entry, encode_entry

log = logging.getLogger(__name__)

BODY_SECONDS_MAX = 10  # for the whole body, so that a drip cannot hold a connection
BODY_BYTES_AT_ONCE = 32_768  # of a larger one the redaction alone may keep others waiting
RETRY_AFTER_SECONDS = {429: 1, 503: 5}  # a bucket gets at least one request a second
CONTENT_TYPES = ("application/json", "text/plain")

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
        wait_seconds = RETRY_AFTER_SECONDS.get(self.status)
        return {"Retry-After": str(wait_seconds)} if wait_seconds else {}


class Receipt(NamedTuple):
    """The answer to a request that was understood; true as soon as `durable` is done."""

    body: bytes
    durable: asyncio.Future[None] | None  # None: there was nothing to keep


class Shared(NamedTuple):
    """What the collectors of one appliance have in common. It never leaves their memory."""

    per_address: Limiter
    per_site: Limiter
    day_key: DayKey

    @classmethod
    def begin(cls, config: Config, today: date) -> Self:
        """Before they are forked."""
        key = DayKey(secrets.token_bytes(KEY_BYTES), today)
        return cls(Limiter(config.limits.per_address), Limiter(config.limits.per_site), key)


class Reception:
    """What requests are judged by, and where they are kept."""

    def __init__(self, config: Config, committer: Committer, shared: Shared) -> None:
        """`committer` is where requests are kept."""
        self._privacy = config.privacy
        self._committer = committer
        self._shared = shared
        self._sites = Allowed(config.limits.sites)
        self.origins = Origins(config.server.origins)
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
        """Raises EnvelopeError when a page may not send, or a client sends more than it may."""
        self.origins.demand(head.origin)
        per_address = self._shared.per_address
        if per_address.rate and not per_address.takes(address_prefix(head.peer), time.monotonic()):
            raise EnvelopeError(429, "too_many_requests", "more requests than are taken from one client")

    def take(self, head: Head, body: bytes) -> Receipt:
        """Take a body in, whatever its type. Raises EnvelopeError, and SpoolError when nothing can be kept."""
        return self._keep(self._judge(head, body, self._salt()))

    async def take_aside(self, head: Head, body: bytes) -> Receipt:
        """`take` for a body that may take long: other requests are handled meanwhile."""
        return self._keep(await asyncio.to_thread(self._judge, head, body, self._salt()))

    def _salt(self) -> bytes:
        return self._shared.day_key.of(datetime.now(UTC).date())

    def _judge(self, head: Head, body: bytes, salt: bytes) -> intake.Taken:
        request = intake.Request(
            received_at=datetime.now(UTC),
            body=body,
            encoding=head.encoding,
            peer=head.peer,
            user_agent=head.user_agent,
            page=head.page,
            refuses=head.refuses,
        )
        return intake.take(request, self._privacy, salt=salt, sites=self._sites)

    def _keep(self, taken: intake.Taken) -> Receipt:
        entry = taken.entry
        self._admit_sites(entry)
        durable = None
        if entry.rows or entry.rejected or entry.withheld or entry.unlisted:
            rows = len(entry.rows) + len(entry.rejected)
            durable = self._committer.append(encode_entry(entry), rows, entry.received_at)
        return Receipt(encode(taken.answer), durable)

    def _admit_sites(self, entry: Entry) -> None:
        """Raises EnvelopeError. What counts is the site that events name: headers say whatever a sender likes."""
        per_site = self._shared.per_site
        if not per_site.rate:
            return
        sites = {row.site_id for row in entry.rows} | {row.site_id for row in entry.rejected} | entry.withheld.keys()
        now = time.monotonic()
        if not all(per_site.takes(site, now) for site in sites):
            raise EnvelopeError(429, "too_many_requests", "more requests than are taken for one site")

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

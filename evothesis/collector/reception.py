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
from evothesis.collector.allowed import Origins
from evothesis.collector.aside import Aside
from evothesis.collector.commit import Committer
from evothesis.collector.decode import BODY_BYTES_MAX, EnvelopeError
from evothesis.collector.limits import Limiter, address_prefix
from evothesis.collector.policy import Policy
from evothesis.collector.privacy.day_key import KEY_BYTES, DayKey
from evothesis.collector.steps import Steps, completed
from evothesis.config import Config
from evothesis.errors import SpoolError
from evothesis.event import Entry, encode_entry
from evothesis.numbers import BATCH, EVENTS, REJECTED, REQUESTS, STATUSES, place, places

log = logging.getLogger(__name__)

HELD_BYTES_MAX = 64 * 2**20  # of requests that are not complete, in each process
RETRY_AFTER_SECONDS = {429: 1, 503: 5}  # a bucket gets at least one request a second
CONTENT_TYPES = ("application/json", "text/plain")

encode = msgspec.json.Encoder().encode

_ACCEPTED, _REJECTED, _WITHHELD = (place(EVENTS, outcome) for outcome in EVENTS.values)
_BATCH = places(BATCH)
_STATUS = {int(status): place(REQUESTS, status) for status in STATUSES if status.isdigit()}
_STATUS_OTHER = place(REQUESTS, "other")

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


class Receipt:
    """The answer to a request: there, and true, as soon as `durable` is done, or at once when that is None."""

    __slots__ = ("body", "durable", "taken")

    def __init__(self) -> None:
        """`durable` may end with EnvelopeError, or with SpoolError when nothing could be kept."""
        self.body = b""
        self.durable: asyncio.Future[None] | None = None
        self.taken: intake.Taken | None = None


class Shared(NamedTuple):
    """What the collectors of one appliance have in common. It never leaves their memory."""

    policy: Policy
    per_address: Limiter
    per_site: Limiter
    day_key: DayKey

    @classmethod
    def begin(cls, config: Config, today: date) -> Self:
        """Before they are forked."""
        key = DayKey(secrets.token_bytes(KEY_BYTES), today)
        return cls(
            policy=Policy(config.privacy, config.enrichment, config.limits.sites),
            per_address=Limiter(config.limits.per_address),
            per_site=Limiter(config.limits.per_site),
            day_key=key,
        )


class Reception:
    """What requests are judged by, and where they are kept."""

    def __init__(self, config: Config, committer: Committer, shared: Shared) -> None:
        """`committer` is where requests are kept."""
        self._committer = committer
        self.numbers = committer.numbers
        self._shared = shared
        self._policy = shared.policy
        self.origins = Origins(config.server.origins)
        self._aside = Aside()
        self._held_bytes = 0
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

    def hold(self, size_bytes: int) -> None:
        """Count what more is held of requests that are not complete, or less. Raises EnvelopeError when it is much."""
        self._held_bytes += size_bytes
        if size_bytes > 0 and self._held_bytes > HELD_BYTES_MAX:
            raise EnvelopeError(503, "too_busy", "more is being received than can be held")

    def take(self, head: Head, body: bytes) -> Receipt:
        """Take a body in, whatever its type. Raises EnvelopeError, and SpoolError when nothing can be kept."""
        request = intake.Request(
            received_at=datetime.now(UTC),
            body=body,
            encoding=head.encoding,
            peer=head.peer,
            user_agent=head.user_agent,
            page=head.page,
            refuses=head.refuses,
        )
        salt = self._shared.day_key.of(request.received_at.date())
        if request.is_large:
            size_bytes = BODY_BYTES_MAX if request.encoding else len(body)
            return self._take_aside(intake.taking(request, self._policy, salt=salt), size_bytes)
        opened = intake.opened(request, self._policy)
        steps = intake.judging(opened, self._policy, salt=salt)
        if opened.is_costly:
            return self._take_aside(steps, len(body))
        receipt = Receipt()
        receipt.durable = self._keep(completed(steps), receipt)
        return receipt

    def _take_aside(self, steps: Steps[intake.Taken], size_bytes: int) -> Receipt:
        """Let others be handled meanwhile."""
        receipt = Receipt()
        receipt.durable = asyncio.ensure_future(self._kept(self._aside.do(steps, size_bytes=size_bytes), receipt))
        return receipt

    async def _kept(self, judged: asyncio.Future[intake.Taken], receipt: Receipt) -> None:
        if durable := self._keep(await judged, receipt):
            await durable

    def settled(self, receipt: Receipt) -> None:
        """Count what its sender is told now."""
        if receipt.taken is None:
            return
        numbers, entry, refused = self.numbers, receipt.taken.entry, receipt.taken.answer["rejected"]
        rows, withheld = len(entry.rows), sum(entry.withheld.values()) if entry.withheld else 0
        numbers.add(_ACCEPTED, rows)
        numbers.observe(_BATCH, rows + len(refused) + withheld)
        if refused:
            numbers.add(_REJECTED, len(refused))
            for refusal in refused:
                numbers.add(place(REJECTED, refusal["code"]))
        if withheld:
            numbers.add(_WITHHELD, withheld)

    def answered(self, status: int) -> None:
        """Count a request that was answered so."""
        self.numbers.add(_STATUS.get(status, _STATUS_OTHER))

    def _keep(self, taken: intake.Taken, receipt: Receipt) -> asyncio.Future[None] | None:
        receipt.taken = taken
        receipt.body = encode(taken.answer)
        entry = taken.entry
        self._admit_sites(entry)
        if not (entry.rows or entry.rejected or entry.withheld or entry.unlisted):
            return None
        rows = len(entry.rows) + len(entry.rejected)
        return self._committer.append(encode_entry(entry), rows, entry.received_at)

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
        while peer and parts and self.is_proxy(peer):
            peer = parts.pop()
        return peer

    def is_proxy(self, peer: str) -> bool:
        """Whether an address is one of `server.proxies`."""
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

"""Intake: one request in, what is kept of it and what is answered out. Pure.

The order of the steps: decode, privacy, parse, signals, enrichment, format.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from evothesis.collector import privacy
from evothesis.collector.allowed import Allowed
from evothesis.collector.decode import (
    EVENT_BYTES_MAX,
    LARGE_BYTES,
    Envelope,
    EventError,
    Inherited,
    decode,
    inflate,
    known_members,
    merged,
    needs_look,
    rewritten,
)
from evothesis.collector.parse import IDENTIFIER_LENGTH_MAX, parse, site_of
from evothesis.collector.policy import Policy
from evothesis.collector.privacy import Rules
from evothesis.collector.steps import Steps, completed
from evothesis.event import Entry, Event, Json, Rejected, Row, encode_json, rejected_row, row, shared_columns

EVENTS_AT_ONCE = 50  # of which each may cost what five sound ones do, because it is refused
HEADERS_LENGTH_AT_ONCE = 1_024  # of the two that are redacted
REJECTED_LENGTH_MAX = 4_096  # of a refused event, kept for repair
USER_AGENT_LENGTH_MAX = 1_024
SITE_NOT_ALLOWED = "site_not_allowed"


class Request(NamedTuple):
    """What a request says, without the network. Texts hold neither NUL nor lone surrogates."""

    received_at: datetime  # UTC
    body: bytes
    encoding: str = ""
    peer: str | None = None
    user_agent: str | None = None
    page: str | None = None  # Origin, else Referer
    refuses: bool = False  # DNT: 1 or Sec-GPC: 1

    @property
    def is_large(self) -> bool:
        """Whether it may take milliseconds to find its events, or to redact its headers."""
        headers_length = len(self.user_agent or "") + len(self.page or "")
        is_compressed = self.encoding not in ("", "identity")
        return is_compressed or len(self.body) > LARGE_BYTES or headers_length > HEADERS_LENGTH_AT_ONCE


class Opened(NamedTuple):
    """A request whose events are known, and not yet looked at."""

    request: Request
    envelope: Envelope
    needs_care: bool  # whether anything in it must be redacted, or written anew

    @property
    def is_costly(self) -> bool:
        """Whether it may take milliseconds to judge them."""
        return self.needs_care or len(self.envelope.members) > EVENTS_AT_ONCE


class Taken(NamedTuple):
    """What is kept, and what the sender is told."""

    entry: Entry
    answer: dict[str, Any]


class _Refusal(NamedTuple):
    position: int
    code: str
    message: str
    member: bytes


def take(request: Request, policy: Policy, *, salt: bytes) -> Taken:
    """Turn a request into the entry to be made durable; `salt` is what addresses are hashed with.

    Raises EnvelopeError.
    """
    return completed(taking(request, policy, salt=salt))


def taking(request: Request, policy: Policy, *, salt: bytes) -> Steps[Taken]:
    """`take` in steps."""
    found = opened(request, policy)
    yield
    return (yield from judging(found, policy, salt=salt))


def opened(request: Request, policy: Policy) -> Opened:
    """A request's events. Takes long when `request.is_large`. Raises EnvelopeError."""
    data = inflate(request.body, request.encoding)
    return Opened(request, decode(data), policy.rules.needs_care(data))  # nearly none does


def judging(opened: Opened, policy: Policy, *, salt: bytes) -> Steps[Taken]:
    """What is kept of a request's events, in a step for each and more for large ones. Long when `opened.is_costly`."""
    request, (members, inherited, extra), careful = opened
    rules = policy.rules
    page = yield from rules.cleaning_text(request.page)  # it may name the site
    request = request._replace(page=page)
    if careful:
        yield from _clean(inherited, rules)
    anonymous = request.refuses and policy.privacy.signals == "anonymise"
    if anonymous:
        inherited.session_id = inherited.visitor_id = None
    events: list[Event] = []
    refusals: list[_Refusal] = []
    for position, sent in enumerate(members):
        member = merged(sent, extra) if extra else sent
        try:
            raw = yield from _kept(member, rules, careful=careful, anonymous=anonymous)
            event = parse(raw, inherited, received_at=request.received_at, page=request.page)
            _demand(policy.sites, event.site_id)
            events.append(event)
        except EventError as error:
            refusals.append(_Refusal(position, error.code, error.message, member))
        yield
    if request.refuses and policy.privacy.signals == "drop":
        withheld = Counter(event.site_id for event in events)
        entry = Entry(request.received_at, [], [], dict(withheld))
        return Taken(entry, {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": withheld.total()})
    rows = yield from _rows(request, policy, events, salt=salt, anonymous=anonymous)
    listed = []
    for refusal in refusals:
        # anybody can make up sites: what is no site of ours is counted, and its name is kept nowhere
        if refusal.code != SITE_NOT_ALLOWED:
            rejected = yield from _rejected(refusal, inherited, request, rules, anonymous=anonymous)
            if rejected.site_id is None or policy.sites.has(rejected.site_id):
                listed.append(rejected)
        yield
    answer: dict[str, Any] = {
        "accepted": len(rows),
        "duplicate": 0,
        "rejected": [{"index": one.position, "code": one.code, "message": one.message} for one in refusals],
    }
    if request.refuses:
        answer["withheld"] = 0
    return Taken(Entry(request.received_at, rows, listed, {}, unlisted=len(refusals) - len(listed)), answer)


def _demand(sites: Allowed, site: str) -> None:
    if not sites.has(site):
        raise EventError(code=SITE_NOT_ALLOWED, message="events of this site are not taken")


def _kept(member: bytes, rules: Rules, *, careful: bool, anonymous: bool) -> Steps[bytes]:
    """An event as it may be kept.

    Whether it is written anew depends on its own bytes alone, so that a retry in another batch is the same event.
    """
    if len(member) > EVENT_BYTES_MAX:
        raise EventError(code="event_too_large", message=f"an event may have {EVENT_BYTES_MAX} bytes")
    if not (needs_look(member) or anonymous or (careful and rules.needs_care(member))):
        return member
    value = yield from rules.cleaning(rewritten(member))
    return encode_json(_without_person(value) if anonymous else value)


def _without_person(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    return {name: part for name, part in value.items() if name not in ("sessionId", "visitorId")}


def _rows(request: Request, policy: Policy, events: list[Event], *, salt: bytes, anonymous: bool) -> Steps[list[Row]]:
    agent = peer = None
    if not anonymous:
        peer = request.peer
        kept = yield from policy.rules.cleaning_text(request.user_agent)
        agent = kept[:USER_AGENT_LENGTH_MAX] if kept else None  # cut last: half an e-mail address would not be found
    shared = shared_columns(
        created_at=request.received_at.isoformat(),
        user_agent=agent,
        ip_address=privacy.address(peer, policy.privacy.ip, salt),
    )
    said = request.user_agent
    sender = policy.enricher.sender(said[:USER_AGENT_LENGTH_MAX] if said else None, agent, peer)
    rows = []
    for event in events:
        rows.append(row(event, shared, policy.enricher.columns(sender, event), is_bot=sender.is_bot))
        yield
    return rows


def _clean(inherited: Inherited, rules: Rules) -> Steps[None]:
    """What a batch says for its events, as if each of them said it."""
    names = {"sessionId": "session_id", "visitorId": "visitor_id", "siteId": "site_id", "url": "url", "path": "path"}
    said = {name: getattr(inherited, column) for name, column in names.items()}
    # PostgreSQL's text cannot hold NUL; see `rewritten`
    kept = {name: text.replace("\0", "\ufffd") if text else text for name, text in said.items()}
    cleaned = yield from rules.cleaning(kept)
    for name, column in names.items():
        setattr(inherited, column, cleaned[name])


def _readable(member: bytes) -> Json:
    """As much of a refused event as can be read; what cannot be read cannot be redacted either."""
    for read in (rewritten, known_members) if len(member) <= EVENT_BYTES_MAX else (known_members,):
        with suppress(EventError):
            return read(member)
    return None


def _rejected(
    refusal: _Refusal, inherited: Inherited, request: Request, rules: Rules, *, anonymous: bool
) -> Steps[Rejected]:
    value = _readable(refusal.member)
    if anonymous:
        value = _without_person(value)
    said = value.get("siteId") if isinstance(value, dict) else None
    site = said if isinstance(said, str) else inherited.site_id or site_of(request.page)
    kept_site = yield from rules.cleaning_text(site)
    kept = yield from rules.cleaning(value)
    return rejected_row(
        created_at=request.received_at.isoformat(),
        site_id=(kept_site or "")[:IDENTIFIER_LENGTH_MAX] or None,
        code=refusal.code,
        message=refusal.message,
        event=msgspec.json.encode(kept).decode()[:REJECTED_LENGTH_MAX],
    )

"""Intake: one request in, what is kept of it and what is answered out. Pure.

The order of the steps: decode, privacy, parse, signals, format.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from evothesis.collector import privacy
from evothesis.collector.decode import DEPTH_MAX, EventError, Inherited, decode, inflate, rewritten
from evothesis.collector.parse import IDENTIFIER_LENGTH_MAX, parse, site_of
from evothesis.collector.privacy import Rules
from evothesis.config import Privacy
from evothesis.event import Entry, Event, Json, Rejected, Row, encode_json, rejected_row, row, shared_columns

EVENT_BYTES_MAX = 32_768
REJECTED_LENGTH_MAX = 4_096  # of a refused event, kept for repair
USER_AGENT_LENGTH_MAX = 1_024


class Request(NamedTuple):
    """What a request says, without the network. Texts hold neither NUL nor lone surrogates."""

    received_at: datetime  # UTC
    body: bytes
    encoding: str = ""
    peer: str | None = None
    user_agent: str | None = None
    page: str | None = None  # Origin, else Referer
    refuses: bool = False  # DNT: 1 or Sec-GPC: 1


class Taken(NamedTuple):
    """What is kept, and what the sender is told."""

    entry: Entry
    answer: dict[str, Any]


class _Refusal(NamedTuple):
    position: int
    error: EventError
    member: bytes


def take(request: Request, settings: Privacy, *, salt: bytes) -> Taken:
    """Turn a request into the entry to be made durable. Raises EnvelopeError."""
    data = inflate(request.body, request.encoding)
    members, inherited = decode(data)
    rules = privacy.rules(settings)
    careful = rules.needs_care(data)  # one look at the whole body; nearly all pass
    request = request._replace(page=rules.cleaned_text(request.page))  # it may name the site
    if careful:
        _clean(inherited, rules)
    anonymous = request.refuses and settings.signals == "anonymise"
    if anonymous:
        inherited.session_id = inherited.visitor_id = None
    events: list[Event] = []
    refusals: list[_Refusal] = []
    for position, member in enumerate(members):
        try:
            raw = _kept(member, rules, careful=careful, anonymous=anonymous)
            events.append(parse(raw, inherited, received_at=request.received_at, page=request.page))
        except EventError as error:
            refusals.append(_Refusal(position, error, member))
    if request.refuses and settings.signals == "drop":
        withheld = Counter(event.site_id for event in events)
        entry = Entry(request.received_at, [], [], dict(withheld))
        return Taken(entry, {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": withheld.total()})
    rows = _rows(request, settings, events, salt=salt, anonymous=anonymous)
    rejected = [_rejected(refusal, inherited, request, rules, anonymous=anonymous) for refusal in refusals]
    answer: dict[str, Any] = {
        "accepted": len(rows),
        "duplicate": 0,
        "rejected": [
            {"index": position, "code": error.code, "message": error.message} for position, error, _ in refusals
        ],
    }
    if request.refuses:
        answer["withheld"] = 0
    return Taken(Entry(request.received_at, rows, rejected, {}), answer)


def _kept(member: bytes, rules: Rules, *, careful: bool, anonymous: bool) -> bytes:
    """An event as it may be kept.

    Whether it is written anew depends on its own bytes alone, so that a retry in another batch is the same event.
    """
    if len(member) > EVENT_BYTES_MAX:
        raise EventError(code="event_too_large", message=f"an event may have {EVENT_BYTES_MAX} bytes")
    is_deep = member.count(b"{") + member.count(b"[") > DEPTH_MAX
    if not (is_deep or anonymous or (careful and rules.needs_care(member))):
        return member
    value = rules.cleaned(rewritten(member))
    return encode_json(_without_person(value) if anonymous else value)


def _without_person(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    return {name: part for name, part in value.items() if name not in ("sessionId", "visitorId")}


def _rows(request: Request, settings: Privacy, events: list[Event], *, salt: bytes, anonymous: bool) -> list[Row]:
    said = None if anonymous else privacy.rules(settings).cleaned_text(request.user_agent)
    agent = said[:USER_AGENT_LENGTH_MAX] if said else None  # cut last: half an e-mail address would not be found
    peer = None if anonymous else request.peer
    shared = shared_columns(
        created_at=request.received_at.isoformat(),
        user_agent=agent,
        ip_address=privacy.address(peer, settings.ip, salt, request.received_at.date()),
    )
    return [row(event, shared) for event in events]


def _clean(inherited: Inherited, rules: Rules) -> None:
    """What a batch says for its events, as if each of them said it."""
    names = {"sessionId": "session_id", "visitorId": "visitor_id", "siteId": "site_id", "url": "url", "path": "path"}
    said = {name: getattr(inherited, column) for name, column in names.items()}
    # PostgreSQL's text cannot hold NUL; see `rewritten`
    cleaned = rules.cleaned({name: text.replace("\0", "\ufffd") if text else text for name, text in said.items()})
    for name, column in names.items():
        setattr(inherited, column, cleaned[name])


def _rejected(refusal: _Refusal, inherited: Inherited, request: Request, rules: Rules, *, anonymous: bool) -> Rejected:
    try:
        value = rewritten(refusal.member)
    except EventError:
        value = None  # what cannot be read cannot be redacted either
    if anonymous:
        value = _without_person(value)
    said = value.get("siteId") if isinstance(value, dict) else None
    site = said if isinstance(said, str) else inherited.site_id or site_of(request.page)
    return rejected_row(
        created_at=request.received_at.isoformat(),
        site_id=(rules.cleaned_text(site) or "")[:IDENTIFIER_LENGTH_MAX] or None,
        code=refusal.error.code,
        message=refusal.error.message,
        event=msgspec.json.encode(rules.cleaned(value)).decode()[:REJECTED_LENGTH_MAX],
    )

"""Intake: one request in, what is kept of it and what is answered out. Pure.

The order of the steps: decode, privacy, parse, signals, format.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import re2  # type: ignore[import-untyped]  # it has no stubs

from evothesis.collector import privacy
from evothesis.collector.decode import DEPTH_MAX, ODD, EventError, Inherited, decode, inflate, rewritten
from evothesis.collector.parse import IDENTIFIER_LENGTH_MAX, parse, site_of
from evothesis.config import Privacy
from evothesis.event import Entry, Event, Json, Rejected, Row, encode_json, rejected_row, row, shared_columns

EVENT_BYTES_MAX = 32_768
REJECTED_LENGTH_MAX = 4_096  # of a refused event, kept for repair
USER_AGENT_LENGTH_MAX = 1_024

# One look at a whole body tells whether any of its events must be written anew; nearly all bodies pass.
_needs_care = re2.compile(f"{ODD}|{privacy.SUSPICIOUS}").search


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
    careful = _needs_care(data) is not None
    if careful:
        _clean(inherited)
    anonymous = request.refuses and settings.signals == "anonymise"
    if anonymous:
        inherited.session_id = inherited.visitor_id = None
    events: list[Event] = []
    refusals: list[_Refusal] = []
    for position, member in enumerate(members):
        try:
            raw = _kept(member, careful=careful, anonymous=anonymous)
            events.append(parse(raw, inherited, received_at=request.received_at, page=request.page))
        except EventError as error:
            refusals.append(_Refusal(position, error, member))
    if request.refuses and settings.signals == "drop":
        withheld = Counter(event.site_id for event in events)
        entry = Entry(request.received_at, [], [], dict(withheld))
        return Taken(entry, {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": withheld.total()})
    rows = _rows(request, settings, events, salt=salt, anonymous=anonymous)
    rejected = [_rejected(refusal, inherited, request, anonymous=anonymous) for refusal in refusals]
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


def _kept(member: bytes, *, careful: bool, anonymous: bool) -> bytes:
    """An event as it may be kept.

    Whether it is written anew depends on its own bytes alone, so that a retry in another batch is the same event.
    """
    if len(member) > EVENT_BYTES_MAX:
        raise EventError(code="event_too_large", message=f"an event may have {EVENT_BYTES_MAX} bytes")
    is_deep = member.count(b"{") + member.count(b"[") > DEPTH_MAX
    if not (is_deep or anonymous or (careful and _needs_care(member))):
        return member
    value = privacy.cleaned(rewritten(member))
    return encode_json(_without_person(value) if anonymous else value)


def _without_person(value: Json) -> Json:
    if not isinstance(value, dict):
        return value
    return {name: part for name, part in value.items() if name not in ("sessionId", "visitorId")}


def _rows(request: Request, settings: Privacy, events: list[Event], *, salt: bytes, anonymous: bool) -> list[Row]:
    agent = None if anonymous else privacy.cleaned_text((request.user_agent or "")[:USER_AGENT_LENGTH_MAX] or None)
    peer = None if anonymous else request.peer
    shared = shared_columns(
        created_at=request.received_at.isoformat(),
        user_agent=agent,
        ip_address=privacy.address(peer, settings.ip, salt, request.received_at.date()),
    )
    return [row(event, shared) for event in events]


def _clean(inherited: Inherited) -> None:
    inherited.session_id = privacy.cleaned_text(inherited.session_id)
    inherited.visitor_id = privacy.cleaned_text(inherited.visitor_id)
    inherited.site_id = privacy.cleaned_text(inherited.site_id)
    inherited.url = privacy.cleaned_text(inherited.url)
    inherited.path = privacy.cleaned_text(inherited.path)


def _rejected(refusal: _Refusal, inherited: Inherited, request: Request, *, anonymous: bool) -> Rejected:
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
        site_id=privacy.cleaned_text(site[:IDENTIFIER_LENGTH_MAX]) if site else None,
        code=refusal.error.code,
        message=refusal.error.message,
        event=msgspec.json.encode(privacy.cleaned(value)).decode()[:REJECTED_LENGTH_MAX],
    )

"""Intake: one request in, what is kept of it and what is answered out. Pure.

The order of the steps: decode, parse, signals, privacy, format.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

from evothesis.collector import privacy
from evothesis.collector.decode import decode, inflate
from evothesis.collector.parse import IDENTIFIER_LENGTH_MAX, Refusal, parse, site_of
from evothesis.config import Privacy
from evothesis.event import Entry, Event, Rejected, Row, encode_json, rejected_row, row

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


def take(request: Request, settings: Privacy, *, salt: bytes) -> Taken:
    """Turn a request into the entry to be made durable. Raises EnvelopeError."""
    data = inflate(request.body, request.encoding)
    document = decode(data)
    is_suspicious = privacy.is_suspicious(data)
    events, refusals = parse(document, received_at=request.received_at, page=request.page)
    if request.refuses and settings.signals == "drop":
        sites = (event.site_id for _, event in events)
        withheld = Counter(map(privacy.cleaned, sites) if is_suspicious else sites)
        entry = Entry(request.received_at, [], [], dict(withheld))
        return Taken(entry, {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": withheld.total()})
    anonymous = request.refuses and settings.signals == "anonymise"
    peer = None if anonymous else request.peer
    created_at = request.received_at.isoformat()
    agent = None if anonymous else privacy.cleaned_text((request.user_agent or "")[:USER_AGENT_LENGTH_MAX]) or None
    ip = privacy.address(peer, settings, salt=salt, day=request.received_at.date())
    rows: list[Row] = []
    for index, event in events:
        if anonymous:
            _anonymise(event)
        if is_suspicious:
            event.raw = privacy.cleaned(event.raw)
            _clean_columns(event)
        raw = encode_json(event.raw)
        if len(raw) > EVENT_BYTES_MAX:
            refusals.append(Refusal(index, "event_too_large", f"an event may have {EVENT_BYTES_MAX} bytes", event.raw))
            continue
        rows.append(row(event, raw, created_at=created_at, user_agent=agent, ip_address=ip))
    rejected = [_rejected(refusal, request.page, created_at) for refusal in refusals]
    answer = {
        "accepted": len(rows),
        "duplicate": 0,
        "rejected": [
            {"index": refusal.position, "code": refusal.code, "message": refusal.message} for refusal in refusals
        ],
    }
    if request.refuses:
        answer["withheld"] = 0
    return Taken(Entry(request.received_at, rows, rejected, {}), answer)


def _clean_columns(event: Event) -> None:
    event.event_type = privacy.cleaned(event.event_type)
    event.site_id = privacy.cleaned(event.site_id)
    event.session_id = privacy.cleaned_text(event.session_id)
    event.visitor_id = privacy.cleaned_text(event.visitor_id)
    event.url = privacy.cleaned_text(event.url)
    event.path = privacy.cleaned_text(event.path)


def _anonymise(event: Event) -> None:
    event.session_id = event.visitor_id = None
    event.raw = {name: value for name, value in event.raw.items() if name not in ("sessionId", "visitorId")}


def _rejected(refusal: Refusal, page: str | None, created_at: str) -> Rejected:
    said = refusal.event.get("siteId") if isinstance(refusal.event, dict) else None
    site = said if isinstance(said, str) else site_of(page)
    text = encode_json(privacy.cleaned(refusal.event)).decode()[:REJECTED_LENGTH_MAX]
    return rejected_row(
        created_at=created_at,
        site_id=privacy.cleaned_text(site[:IDENTIFIER_LENGTH_MAX]) if site else None,
        code=refusal.code,
        message=refusal.message,
        event=text,
    )

"""Parse: a JSON document in, events and refusals out. Pure; nothing is redacted yet."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from evothesis.collector.decode import EnvelopeError
from evothesis.event import Event, Json, derived_id

EVENTS_MAX = 1_000
EVENT_TYPE_LENGTH_MAX = 50
IDENTIFIER_LENGTH_MAX = 100
URL_LENGTH_MAX = 8_192
PATH_LENGTH_MAX = 500

_BATCH_ONLY = frozenset({"eventType", "events", "batchId", "sentAt"})
_INHERITED = frozenset({"sessionId", "visitorId", "siteId", "url", "path", "timestamp"})
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# years 1 and 9999 leave the range of datetime, and of readers, when an offset is applied
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class Refusal(NamedTuple):
    """Why one event of a request is not stored; `position` is its index in the request."""

    position: int
    code: str
    message: str
    event: Json


class EventError(Exception):
    """One event of a request is refused."""

    def __init__(self, *, code: str, message: str) -> None:
        """`code` is the machine's word for the reason."""
        super().__init__(message)
        self.code = code
        self.message = message


def parse(document: Json, *, received_at: datetime, page: str | None) -> tuple[list[tuple[int, Event]], list[Refusal]]:
    """The events of a document, each with its index: one event, or a batch whose members say only what differs.

    `page` is what the headers say of the page (Origin, else Referer); it names the site of events that do not.
    Raises EnvelopeError when the document is neither.
    """
    if not isinstance(document, dict):
        raise EnvelopeError(400, "envelope_invalid", "the body must be a JSON object: an event or a batch")
    if document.get("eventType") != "batch":
        members: Json = [document]
        inherited: dict[str, Json] = {}
    else:
        members = document.get("events")
        if not isinstance(members, list) or not members:
            raise EnvelopeError(400, "batch_empty", "a batch must have a list of events")
        if len(members) > EVENTS_MAX:
            raise EnvelopeError(413, "batch_too_large", f"a batch may have {EVENTS_MAX} events")
        inherited = {name: value for name, value in document.items() if name not in _BATCH_ONLY}
    events: list[tuple[int, Event]] = []
    refusals: list[Refusal] = []
    for index, member in enumerate(members):
        try:
            events.append((index, _event(member, inherited, received_at, page)))
        except EventError as error:
            refusals.append(Refusal(index, error.code, error.message, member))
    return events, refusals


def site_of(page: str | None) -> str | None:
    """The host of a URL, without its port; None when there is none."""
    if not page:
        return None
    try:
        return urlsplit(page).hostname
    except ValueError:
        return None


def _event(member: Json, inherited: dict[str, Json], received_at: datetime, page: str | None) -> Event:
    if not isinstance(member, dict):
        raise EventError(code="event_invalid", message="an event must be a JSON object")
    merged = {**inherited, **member}
    event_type = _text(merged, "eventType", EVENT_TYPE_LENGTH_MAX)
    if not event_type or event_type == "batch":
        raise EventError(code="event_type_missing", message="eventType must be a word, and not batch")
    url = _text(merged, "url", URL_LENGTH_MAX)
    site_id = _text(merged, "siteId", IDENTIFIER_LENGTH_MAX) or site_of(url) or site_of(page)
    if not site_id or len(site_id) > IDENTIFIER_LENGTH_MAX:
        raise EventError(code="site_missing", message="siteId is absent, and neither url nor the headers name a host")
    # what the batch says beside the known members belongs to each of its events
    raw = {name: value for name, value in merged.items() if name in member or name not in _INHERITED}
    path = _text(merged, "path", URL_LENGTH_MAX)
    if path is None and url:
        path = _path_of(url)
    return Event(
        event_id=_event_id(merged, site_id),
        event_type=event_type,
        session_id=_text(merged, "sessionId", IDENTIFIER_LENGTH_MAX),
        visitor_id=_text(merged, "visitorId", IDENTIFIER_LENGTH_MAX),
        site_id=site_id,
        timestamp=_timestamp(merged.get("timestamp"), received_at),
        url=url,
        path=path[:PATH_LENGTH_MAX] if path else path,
        raw=raw,
    )


def _text(merged: dict[str, Json], name: str, length_max: int) -> str | None:
    value = merged.get(name)
    if value is None or (isinstance(value, str) and len(value) <= length_max):
        return value
    code = re.sub(r"([A-Z])", r"_\1", name).lower() + "_invalid"
    raise EventError(code=code, message=f"{name} must be a string of at most {length_max} characters")


def _event_id(merged: dict[str, Json], site_id: str) -> str:
    value = merged.get("eventId")
    if value is None:
        return derived_id(site_id, merged)
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise EventError(code="event_id_invalid", message="eventId must be a UUID")
    return value.replace("-", "").lower()


def _timestamp(value: Json, received_at: datetime) -> datetime:
    if value is None:
        return received_at
    try:
        if isinstance(value, str):
            moment = msgspec.convert(value, datetime)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = _EPOCH + timedelta(milliseconds=msgspec.convert(value, int))
    except (msgspec.ValidationError, OverflowError) as error:
        message = "timestamp must be ISO 8601 or epoch milliseconds"
        raise EventError(code="timestamp_invalid", message=message) from error
    if not _EARLIEST <= moment < _LATEST:
        raise EventError(code="timestamp_out_of_range", message="timestamp must lie between the years 1900 and 9000")
    return moment


def _path_of(url: str) -> str | None:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return None

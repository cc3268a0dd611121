"""Parse: a JSON document in, events and refusals out. Pure; nothing is redacted yet."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple
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


_Identifier = Annotated[str, msgspec.Meta(max_length=IDENTIFIER_LENGTH_MAX)]
_Address = Annotated[str, msgspec.Meta(max_length=URL_LENGTH_MAX)]


class _Said(msgspec.Struct, rename="camel"):
    """The members that have a column, as they are sent."""

    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_TYPE_LENGTH_MAX)]
    event_id: str | None = None
    session_id: _Identifier | None = None
    visitor_id: _Identifier | None = None
    site_id: _Identifier | None = None
    timestamp: str | int | None = None
    url: _Address | None = None
    path: _Address | None = None


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
    merged = {**inherited, **member} if inherited else member
    try:
        said = msgspec.convert(merged, _Said)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    if said.event_type == "batch":
        raise EventError(code="event_type_invalid", message="a batch cannot stand in a batch")
    site_id = said.site_id or site_of(said.url) or site_of(page)
    if not site_id or len(site_id) > IDENTIFIER_LENGTH_MAX:
        message = "siteId is absent, and neither url nor the headers name a host"
        raise EventError(code="site_missing", message=message)
    # what the batch says beside the known members belongs to each of its events
    extra = {name: value for name, value in inherited.items() if name not in _INHERITED}
    path = said.path if said.path is not None else _path_of(said.url)
    return Event(
        event_id=_event_id(said.event_id, merged, site_id),
        event_type=said.event_type,
        session_id=said.session_id,
        visitor_id=said.visitor_id,
        site_id=site_id,
        timestamp=_timestamp(said.timestamp, received_at),
        url=said.url,
        path=path[:PATH_LENGTH_MAX] if path else path,
        raw={**extra, **member} if extra else member,
    )


def _invalid(error: msgspec.ValidationError) -> EventError:
    """`Expected `str`, got `int` - at `$.sessionId`` as a code and a message."""
    reason, _, place = str(error).partition(" - at `$.")
    name = place.rstrip("`") or "eventType"
    code = re.sub(r"([A-Z])", r"_\1", name).lower() + "_invalid"
    return EventError(code=code, message=f"{name}: {reason.replace('`', '')}")


def _event_id(value: str | None, merged: dict[str, Json], site_id: str) -> str:
    if value is None:
        return derived_id(site_id, merged)
    if not _UUID.fullmatch(value):
        raise EventError(code="event_id_invalid", message="eventId must be a UUID")
    return value.replace("-", "").lower()


def _timestamp(value: str | int | None, received_at: datetime) -> datetime:
    if value is None:
        return received_at
    try:
        if isinstance(value, str):
            moment = msgspec.convert(value, datetime)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = _EPOCH + timedelta(milliseconds=value)
    except (msgspec.ValidationError, OverflowError) as error:
        message = "timestamp must be ISO 8601 or epoch milliseconds"
        raise EventError(code="timestamp_invalid", message=message) from error
    if not _EARLIEST <= moment < _LATEST:
        raise EventError(code="timestamp_out_of_range", message="timestamp must lie between the years 1900 and 9000")
    return moment


def _path_of(url: str | None) -> str | None:
    try:
        return urlsplit(url).path or "/" if url else None
    except ValueError:
        return None

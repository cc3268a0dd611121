"""Parse: an event as JSON in, its columns out, or the reason why not. Pure; what it reads is redacted already."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from evothesis.collector.decode import Address, EventError, Inherited, Text
from evothesis.event import Event, derived_id

IDENTIFIER_LENGTH_MAX = 100
PATH_LENGTH_MAX = 500

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_BROWSERS = "2026-11-22T09:00:00.123Z"  # the form of Date.toISOString, which needs no other form
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# years 1 and 9999 leave the range of datetime, and of readers, when an offset is applied
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class _Data(msgspec.Struct):
    referrer: Any = msgspec.UNSET


class _Said(msgspec.Struct, rename="camel"):
    """The members that have a column."""

    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
    event_id: str | None = None
    session_id: Text | None = None
    visitor_id: Text | None = None
    site_id: Text | None = None
    timestamp: str | int | None = None
    url: Address | None = None
    path: Address | None = None
    data: _Data | list[Any] | str | int | float | bool | None = None  # an event may have any JSON there
    referrer: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Said).decode


def parse(member: bytes, inherited: Inherited, *, received_at: datetime, page: str | None) -> Event:
    """An event; what it does not say is what its batch says.

    `page` is what the headers say of the page (Origin, else Referer); it names the site where nothing else does.
    Raises EventError.
    """
    try:
        said = _decode(member)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    if said.event_type == "batch":
        raise EventError(code="event_type_invalid", message="a batch cannot stand in a batch")
    url = inherited.url if said.url is None else said.url
    site_id = said.site_id or inherited.site_id or site_of(url) or site_of(page)
    if not site_id or len(site_id) > IDENTIFIER_LENGTH_MAX:
        message = "siteId is absent, and neither url nor the headers name a host"
        raise EventError(code="site_missing", message=message)
    path = said.path if said.path is not None else _path_of(said.url) or inherited.path or _path_of(url)
    session_id = inherited.session_id if said.session_id is None else said.session_id
    visitor_id = inherited.visitor_id if said.visitor_id is None else said.visitor_id
    timestamp = inherited.timestamp if said.timestamp is None else said.timestamp
    if said.event_id is None:
        event_id = derived_id(member, site_id, session_id, visitor_id, url, path, timestamp)
    else:
        event_id = _event_id(said.event_id)
    return Event(
        event_id=event_id,
        event_type=said.event_type,
        session_id=session_id,
        visitor_id=visitor_id,
        site_id=site_id,
        timestamp=_timestamp(timestamp, received_at),
        url=url,
        path=path[:PATH_LENGTH_MAX] if path else path,
        referrer=_referrer(said),
        raw=member,
    )


def site_of(page: str | None) -> str | None:
    """The host of a URL, without its port; None when there is none."""
    if not page:
        return None
    try:
        return urlsplit(page).hostname
    except ValueError:
        return None


def _referrer(said: _Said) -> str | None:
    """The page before, as `data` says it, where tracking.js puts it, else as the event does."""
    value = said.data.referrer if isinstance(said.data, _Data) else msgspec.UNSET
    if value is msgspec.UNSET:
        value = said.referrer
    if isinstance(value, str):
        return value
    return "" if value is None else None


def _invalid(error: msgspec.ValidationError) -> EventError:
    """`Expected `str`, got `int` - at `$.sessionId`` as a code and a message."""
    reason, _, place = str(error).partition(" - at `$.")
    name = place.rstrip("`")
    if not name:  # of the event itself
        name = "eventType" if "eventType" in reason else "event"
    code = re.sub(r"([A-Z])", r"_\1", name).lower() + "_invalid"
    return EventError(code=code, message=f"{name}: {reason.replace('`', '')}")


def _event_id(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise EventError(code="event_id_invalid", message="eventId must be a UUID")
    return value.replace("-", "").lower()


def _timestamp(value: str | int | None, received_at: datetime) -> str:
    """The moment as ISO 8601 in UTC."""
    if value is None:
        return received_at.isoformat()
    said = None
    try:
        if isinstance(value, str):
            moment = msgspec.convert(value, datetime)
            if len(value) == len(_BROWSERS) and value[10] == "T" and value[-1] == "Z":
                said = value
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = _EPOCH + timedelta(milliseconds=value)
    except (msgspec.ValidationError, OverflowError) as error:
        message = "timestamp must be ISO 8601 or epoch milliseconds"
        raise EventError(code="timestamp_invalid", message=message) from error
    if not _EARLIEST <= moment < _LATEST:
        raise EventError(code="timestamp_out_of_range", message="timestamp must lie between the years 1900 and 9000")
    return said or moment.isoformat()


def _path_of(url: str | None) -> str | None:
    try:
        return urlsplit(url).path or "/" if url else None
    except ValueError:
        return None

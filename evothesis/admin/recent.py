"""Recent: stored and refused events, the newest first, a page at a time."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import msgspec

from evothesis.admin.query import QueryError
from evothesis.pg import Connections

# there is no index to walk backwards: look at ever longer stretches, whose blocks the BRIN index names
STRETCHES = (timedelta(minutes=5), timedelta(hours=2), timedelta(days=2), timedelta(days=10), timedelta(days=3650))

COLUMNS = """event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
       host(ip_address) as ip_address, raw_event_data, created_at, writer, segment_no, idx, event_id_reused,
       is_bot, bot_reason, browser, browser_version, os, device_type, country, referrer_type, referrer_source,
       utm_source, utm_medium, utm_campaign, utm_term, utm_content, utm_id, click_id_type"""
EVENTS = f"""
select {COLUMNS}
  from events_log
 where created_at > coalesce(%(created_at)s, now()) - %(stretch)s
   and (%(created_at)s::timestamptz is null
        or (created_at, writer, segment_no, idx) < (%(created_at)s, %(writer)s, %(segment_no)s, %(idx)s))
   and (%(site)s::text is null or site_id = %(site)s)
   and (%(type)s::text is null or event_type = %(type)s)
 order by created_at desc, writer desc, segment_no desc, idx desc
 limit %(limit)s
"""  # noqa: S608 - a constant of ours
REJECTED = """
select site_id, code, message, event, created_at, writer, segment_no, idx
  from rejected_events
 where created_at > coalesce(%(created_at)s, now()) - %(stretch)s
   and (%(created_at)s::timestamptz is null
        or (created_at, writer, segment_no, idx) < (%(created_at)s, %(writer)s, %(segment_no)s, %(idx)s))
   and (%(site)s::text is null or site_id = %(site)s)
   and (%(type)s::text is null or code = %(type)s)
 order by created_at desc, writer desc, segment_no desc, idx desc
 limit %(limit)s
"""


class Place(NamedTuple):
    """The last event of a page: the next one begins behind it."""

    created_at: datetime
    writer: int
    segment_no: int
    idx: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """As `__str__` wrote it. Raises QueryError."""
        try:
            moment, *numbers = msgspec.json.decode(
                base64.urlsafe_b64decode(text.encode()), type=tuple[datetime, int, int, int]
            )
            place = cls(moment.astimezone(UTC), *numbers)
        except (ValueError, OverflowError, binascii.Error, msgspec.MsgspecError) as error:
            code, message = "cursor_invalid", "cursor: take it from `next` of the page before"
            raise QueryError(code, message) from error
        if any(not 0 <= number < 2**31 for number in (place.writer, place.idx)) or not 0 <= place.segment_no < 2**63:
            code, message = "cursor_invalid", "cursor: take it from `next` of the page before"
            raise QueryError(code, message)
        return place

    def __str__(self) -> str:
        """For readers it has no meaning."""
        return base64.urlsafe_b64encode(msgspec.json.encode(tuple(self))).decode()


class Wanted(NamedTuple):
    """Which of them: `kind` is the type of an event, and the code of a refused one."""

    limit: int
    site: str | None = None
    kind: str | None = None
    behind: Place | None = None


async def recent_events(connections: Connections, wanted: Wanted) -> bytes:
    """`{"events": [...], "next": …}`: at most so many, and the cursor of the page behind them, null at the end."""
    return await _page(connections, EVENTS, wanted)


async def rejected_events(connections: Connections, wanted: Wanted) -> bytes:
    """The same of refused events, each with its code and as much of it as is kept."""
    return await _page(connections, REJECTED, wanted)


async def _page(connections: Connections, query: str, wanted: Wanted) -> bytes:
    place = wanted.behind._asdict() if wanted.behind else dict.fromkeys(Place._fields)
    parameters = place | {"site": wanted.site, "type": wanted.kind, "limit": wanted.limit}
    rows: list[dict[str, Any]] = []
    async with connections.connection() as connection:
        for stretch in STRETCHES:
            cursor = await connection.execute(query, parameters | {"stretch": stretch})
            rows = await cursor.fetchall()
            if len(rows) >= wanted.limit:
                break
    last = Place(*(rows[-1][name] for name in Place._fields)) if len(rows) == wanted.limit else None
    return msgspec.json.encode({"events": rows, "next": str(last) if last else None})

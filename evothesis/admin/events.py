"""Events: how many there are, by the ledger, and the newest of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from evothesis.admin.desk import Asked, answer
from evothesis.admin.query import Hour, Name, Query, QueryError, moment, parse
from evothesis.admin.recent import Place, Wanted, recent_events, rejected_events

COUNT = """
select coalesce(sum(accepted), 0)::bigint as total, coalesce(sum(duplicate), 0)::bigint as duplicate,
       coalesce(sum(rejected), 0)::bigint as rejected, coalesce(sum(withheld), 0)::bigint as withheld,
       coalesce(sum(bots), 0)::bigint as bots
"""
ALL = """
-- the ledger, and so its sums, has every stored event, also those whose partitions are gone
  from usage_counts where (%(site)s::text is null or site_id = %(site)s)
"""
WITHIN = """
  from usage_ledger u
 where (%(site)s::text is null or site_id = %(site)s)
   and (%(from)s::timestamptz is null or usage_day >= (%(from)s::timestamptz at time zone 'UTC')::date)
   and (%(to)s::timestamptz is null or usage_day <= (%(to)s::timestamptz at time zone 'UTC')::date)
   -- a segment lies within one hour, and its load says which
   and exists (select from loads l where l.writer = u.writer and l.segment_no = u.segment_no
                  and (%(from)s::timestamptz is null or l.hour >= %(from)s)
                  and (%(to)s::timestamptz is null or l.hour < %(to)s))
"""
TYPES = """
-- "(other)" too, where one type is asked for: it may be among those, at a site that had no name left for it
select case when number <= %(types_max)s then event_type else '(other)' end as event_type, sum(events)::bigint as events
  from (
    select event_type, sum(events) as events, row_number() over (order by sum(events) desc, event_type) as number
      from usage_types
     where (%(site)s::text is null or site_id = %(site)s)
       and (%(type)s::text is null or event_type in (%(type)s, '(other)'))
       and (%(from)s::timestamptz is null or hour >= %(from)s)
       and (%(to)s::timestamptz is null or hour < %(to)s)
     group by event_type
  ) counted
 group by 1 order by events desc, event_type
"""
SINCE = """
-- the hour behind the last one of which something was loaded before types were counted
select max(l.hour) + interval '1 hour' as types_since
  from writers w join loads l on l.writer = w.writer and l.segment_no = w.types_from_segment_no - 1
"""
TYPES_MAX = 100  # with a name in one answer; anybody can make up sites, and types for each

Limit = Annotated[int, Meta(ge=1, le=1_000)]
Cursor = Annotated[str, Meta(min_length=1, max_length=200, description="`next` of the page before")]


class Counted(msgspec.Struct):
    """Events of the ledger: stored ones (`total`, bots among them), and what became of the others.

    Of one type only stored events are counted; the rest is null. `types` is told when asked for, the most frequent
    first; `(other)` are types without a name of their own. `types_since` is the hour since which they are counted, null
    when always.
    """

    total: int
    duplicate: int | None = None
    rejected: int | None = None
    withheld: int | None = None
    bots: int | None = None
    types: dict[str, int] | None = None
    types_since: datetime | None = None


class Page(msgspec.Struct):
    """Events, the newest first; `next` is the cursor of those before them, null when there are none."""

    events: list[dict[str, Any]]
    next: str | None


class CountQuery(Query, frozen=True):
    """What can be asked without a look at events: their sites, their types, and the hours of their receipt."""

    site: Name | None = None
    type: Name | None = None
    begin: Hour | None = msgspec.field(default=None, name="from")
    end: Hour | None = msgspec.field(default=None, name="to")
    by: Literal["type"] | None = None


class RecentQuery(Query, frozen=True):
    """Which of the stored events."""

    limit: Limit = 100
    cursor: Cursor | None = None
    site: Name | None = None
    type: Name | None = None


class RejectedQuery(Query, frozen=True):
    """Which of the refused events."""

    limit: Limit = 100
    cursor: Cursor | None = None
    site: Name | None = None
    code: Name | None = None


async def count(asked: Asked) -> web.Response:
    """How many events were received from the hour `from` up to the hour `to`, which is left out."""
    query = parse(asked.request, CountQuery)
    begin, end = moment("from", query.begin), moment("to", query.end)
    if begin and end and end <= begin:
        code, message = "to_invalid", "to: it is not behind `from`"
        raise QueryError(code, message)
    wanted = {"site": query.site, "type": query.type, "from": begin, "to": end, "types_max": TYPES_MAX}
    counted: dict[str, Any] = {}
    async with asked.desk.connections.connection() as connection:
        if query.type is None:
            cursor = await connection.execute(COUNT + (WITHIN if begin or end else ALL), wanted)
            counted |= await cursor.fetchone() or {}
        if query.type is not None or query.by:
            cursor = await connection.execute(TYPES, wanted)
            counted["types"] = types = {row["event_type"]: row["events"] for row in await cursor.fetchall()}
            counted.setdefault("total", types.get(query.type, 0))
            cursor = await connection.execute(SINCE)
            counted |= await cursor.fetchone() or {}
    return answer(Counted(**counted))


async def recent(asked: Asked) -> web.Response:
    """The newest stored events."""
    query = parse(asked.request, RecentQuery)
    wanted = Wanted(query.limit, query.site, query.type, _behind(query.cursor))
    return answer(await recent_events(asked.desk.connections, wanted))


async def rejected(asked: Asked) -> web.Response:
    """The newest refused events, each with the reason and as much of it as is kept."""
    query = parse(asked.request, RejectedQuery)
    wanted = Wanted(query.limit, query.site, query.code, _behind(query.cursor))
    return answer(await rejected_events(asked.desk.connections, wanted))


async def traffic(asked: Asked) -> web.Response:
    """What came in, by minute of the last hour and by hour of the last day."""
    parse(asked.request, Query)
    desk = asked.desk
    return answer(await desk.flow.traffic(desk.connections, datetime.now(UTC)))


def _behind(cursor: str | None) -> Place | None:
    return Place.parse(cursor) if cursor else None

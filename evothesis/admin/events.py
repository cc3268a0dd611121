"""Events: how many there are, by the ledger, and the newest of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

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

Limit = Annotated[int, Meta(ge=1, le=1_000)]
Cursor = Annotated[str, Meta(min_length=1, max_length=200, description="`next` of the page before")]


class Counted(msgspec.Struct):
    """Events of the ledger: stored ones (`total`, bots among them), and what became of the others."""

    total: int
    duplicate: int
    rejected: int
    withheld: int
    bots: int


class Page(msgspec.Struct):
    """Events, the newest first; `next` is the cursor of those before them, null when there are none."""

    events: list[dict[str, Any]]
    next: str | None


class CountQuery(Query, frozen=True):
    """What the ledger can be asked: it counts by site and by hour of receipt, and knows nothing of types."""

    site: Name | None = None
    begin: Hour | None = msgspec.field(default=None, name="from")
    end: Hour | None = msgspec.field(default=None, name="to")


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
    statement = COUNT + (WITHIN if begin or end else ALL)
    async with asked.desk.connections.connection() as connection:
        cursor = await connection.execute(statement, {"site": query.site, "from": begin, "to": end})
        return answer(await cursor.fetchone())


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

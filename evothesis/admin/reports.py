"""Reports: usage, sites and exports, as their commands tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from evothesis import pg
from evothesis.admin.access import AccessError
from evothesis.admin.desk import Asked, answer
from evothesis.admin.objectives import DELIVERIES, Objectives, judged
from evothesis.admin.query import Name, Query, QueryError, parse
from evothesis.admin.requests import Requests, known
from evothesis.admin.tokens import record
from evothesis.errors import ConfigurationError
from evothesis.exporter.lock import is_running
from evothesis.exporter.status import status
from evothesis.usage import invoice
from evothesis.usage.forecast import forecast
from evothesis.usage.meter import Group, Month
from evothesis.usage.report import report

SITES = """
-- sums of seven days and what lies behind each writer's last whole block of loads; "offset 0" as in usage_counts
with counted as (
  select site_id, sum(accepted) as events, sum(bots) as bots, sum(duplicate) as duplicates, sum(rejected) as rejected,
         sum(withheld) as withheld
    from usage_counts where usage_day > (now() at time zone 'UTC')::date - 7 group by site_id
), seen as (
  select site_id, max(last_received_at) as last_seen_at
    from (
      select site_id, last_received_at from usage_sums where usage_day > (now() at time zone 'UTC')::date - 7
       union all
      select tail.site_id, tail.last_received_at
        from writers w
       cross join lateral (
         select u.site_id, l.last_received_at
           from loads l join usage_ledger u using (writer, segment_no)
          where l.writer = w.writer and l.segment_no >= w.next_segment_no / 16 * 16 and l.segment_no < w.next_segment_no
            and u.segment_no >= w.next_segment_no / 16 * 16 and u.segment_no < w.next_segment_no
            and u.usage_day > (now() at time zone 'UTC')::date - 7
         offset 0
       ) tail
    ) parts
   group by site_id
)
select s.site_id, s.first_seen_at, seen.last_seen_at,
       coalesce(events, 0)::bigint as events, coalesce(bots, 0)::bigint as bots,
       coalesce(duplicates, 0)::bigint as duplicates, coalesce(rejected, 0)::bigint as rejected,
       coalesce(withheld, 0)::bigint as withheld
  from sites s left join counted using (site_id) left join seen using (site_id)
 where (%(after)s::text is null or s.site_id > %(after)s)
 order by s.site_id
 limit %(limit)s
"""
LOSS = """
select site_id, sum(sent)::bigint as sent, sum(received)::bigint as received, sum(lost)::bigint as lost
  from tracker_loss where site_id = any(%(sites)s) group by site_id
"""


class UsageQuery(Query, frozen=True):
    """Which bill."""

    month: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}$", description="UTC; the present one by default")] | None = (
        None
    )
    by: Group = "site"


class SitesQuery(Query, frozen=True):
    """`loss` is measured by reading all events of nine days."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    after: Name | None = None
    loss: bool = False


class Loss(msgspec.Struct):
    """What browsers recorded, by the numbers that they gave to events; what arrived; the difference."""

    sent: int
    received: int
    lost: int


class Site(msgspec.Struct):
    """A site and its last seven days; `last_seen_at` is null when nothing came in them."""

    site_id: str
    first_seen_at: datetime
    last_seen_at: datetime | None
    events: int
    bots: int
    duplicates: int
    rejected: int
    withheld: int
    tracker_loss: Loss | None = None


class Sites(msgspec.Struct):
    """Sites by name; `next` is what `after` wants for those behind them, null at the end."""

    sites: list[Site]
    next: str | None


async def usage(asked: Asked) -> web.Response:
    """A month's events and what they cost."""
    query = parse(asked.request, UsageQuery)
    try:
        month = Month.parse(query.month or f"{datetime.now(UTC):%Y-%m}")
    except ConfigurationError as error:
        code = "month_invalid"
        raise QueryError(code, f"month: {error}") from error
    config = asked.desk.config

    def made(connection: pg.Connection) -> dict[str, Any]:
        expected = forecast(connection, config.usage, month, now=datetime.now(UTC))
        closed = invoice.name(connection, month)
        return report(connection, config, month, query.by) | {"forecast": expected, "invoice": closed}

    return answer(await asked.desk.report(made))


async def sites(asked: Asked) -> web.Response:
    """Every site, when it was seen, and what came in the last seven days."""
    query = parse(asked.request, SitesQuery)
    async with asked.desk.connections.connection() as connection:
        cursor = await connection.execute(SITES, {"after": query.after, "limit": query.limit})
        found = [Site(**row) for row in await cursor.fetchall()]
        if query.loss:
            cursor = await connection.execute(LOSS, {"sites": [site.site_id for site in found]})
            losses = {row.pop("site_id"): Loss(**row) for row in await cursor.fetchall()}
            for site in found:
                site.tracker_loss = losses.get(site.site_id)
    return answer(Sites(found, found[-1].site_id if len(found) == query.limit else None))


async def objectives(asked: Asked) -> web.Response:
    """What the product promises, and how much of it was kept in the last hour."""
    parse(asked.request, Query)
    desk = asked.desk
    names = [destination.name for destination in desk.config.export.destination]
    async with desk.connections.connection() as connection:
        row = await (await connection.execute(DELIVERIES, {"names": names})).fetchone()
    seconds, counted = desk.history.counted()
    return answer(Objectives(int(seconds), judged(counted, **(row or {}))))


async def export_status(asked: Asked) -> web.Response:
    """How far each destination is, what keeps it, and how the last export went that was started here."""
    parse(asked.request, Query)
    destinations = await asked.desk.report(partial(status, asked.desk.config))
    lines: list[dict[str, Any]] = [line._asdict() | {"lag": line.lag._asdict()} for line in destinations]
    return answer({"run": asked.desk.exports.last(), "destinations": lines})


async def export_config(asked: Asked) -> web.Response:
    """Each destination as it is configured, without secrets, and whether its credentials work: really tried.

    A process that has no network tells what the last export found.
    """
    parse(asked.request, Query)
    desk = asked.desk
    if isinstance(desk.exports, Requests):
        return answer({"destinations": known(desk.config, await desk.report(partial(status, desk.config)))})
    return answer({"destinations": await desk.exports.reach(desk.config)})


async def export_run(asked: Asked) -> web.Response:
    """Start an export; `/export/status` tells how it goes. One at a time, wherever it was started."""
    parse(asked.request, Query)
    desk = asked.desk
    if desk.exports.is_running or await desk.report(is_running):
        raise AccessError(409, "export_running", "an export is running")
    await record(desk.connections, asked.actor, "export-run", {})
    if desk.exports.is_running:  # another request came first, while this one was recorded
        raise AccessError(409, "export_running", "an export is running")
    await desk.exports.start()
    return answer({"run": desk.exports.last()}, status=202)

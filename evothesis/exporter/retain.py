"""Retain: days that are old and that every destination has in, a smaller database and a record of what went out.

A partition is dropped when each event in it stands in a published file of each destination, in each of its formats;
never otherwise. What a load loses is recorded in the same transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
from psycopg import sql

from evothesis import pg
from evothesis.config import Destination
from evothesis.errors import HistoryError

log = logging.getLogger(__name__)

OLD = """
select day
  from (select case when c.relname ~ '^events_log_[0-9]{8}$' then to_date(right(c.relname, 8), 'YYYYMMDD') end as day
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'events_log'::regclass) days
 where day < (now() at time zone 'UTC')::date - %(retention_days)s
 order by day
"""
LOCK = """
-- a late segment of that day is stored before this is granted, and seen below, or after the day is gone, in a new one
lock table only {events}, only {rejected} in share row exclusive mode
"""
UNDELIVERED = """
select (select count(*)
          from writers w
          join loads l on l.writer = w.writer and l.segment_no > coalesce(
                 (select max(r.last_segment_no) from export_ranges r where r.writer = w.writer), -1)
         where l.hour >= %(begin)s and l.hour < %(end)s)
     + (select count(*)
          from exports e
          cross join unnest(%(destinations)s::text[], %(formats)s::text[]) as wanted (destination, format)
          left join deliveries d
            on d.export_id = e.export_id and d.destination = wanted.destination and d.format = wanted.format
         where e.hour >= %(begin)s and e.hour < %(end)s and d.state is distinct from 'published') as undelivered
"""
REMOVED = """
with counted as (
  select writer, segment_no, count(*) as events, 0 as rejected from {events} group by writer, segment_no
  union all
  select writer, segment_no, 0, count(*) from {rejected} group by writer, segment_no
), gone as (
  insert into removed (writer, segment_no, events, rejected, reason)
  select writer, segment_no, sum(events), sum(rejected), 'retention' from counted group by writer, segment_no
  returning events
)
select coalesce(sum(events), 0)::bigint as events,
       (select coalesce(sum(rows), 0)::bigint from exports where hour >= %(begin)s and hour < %(end)s) as delivered
  from gone
"""
TABLES = {"events": "events_log", "rejected": "rejected_events"}
LOCK_TIMEOUT = "set local lock_timeout = '2s'"  # behind a waiting drop all other readers of events_log would wait too


def retain(connection: pg.Connection, destinations: Iterable[Destination], *, retention_days: int) -> list[date]:
    """Drop the days that are older than `retention_days` and delivered everywhere; returns them."""
    wanted = [(destination.name, form) for destination in destinations for form in destination.formats]
    days = [row["day"] for row in connection.execute(OLD, {"retention_days": retention_days}).fetchall()]
    removed = []
    for day in days:
        try:
            with connection.transaction():
                if _remove(connection, day, wanted):
                    removed.append(day)
        except psycopg.errors.LockNotAvailable:
            log.warning("Old day not removed: somebody reads it. The next export tries again.", extra={"day": str(day)})
            return removed
    if kept := sorted(set(days) - set(removed)):
        log.warning("Old days kept: not every destination has them.", extra={"days": len(kept), "first": str(kept[0])})
    return removed


def _remove(connection: pg.Connection, day: date, wanted: Sequence[tuple[str, str]]) -> bool:
    """Record and drop a day, in the caller's transaction; False when something of it is not delivered."""
    names = {short: sql.Identifier(f"{table}_{day:%Y%m%d}") for short, table in TABLES.items()}
    parameters: dict[str, Any] = {
        "begin": datetime.combine(day, time(), UTC),
        "end": datetime.combine(day + timedelta(days=1), time(), UTC),
        "destinations": [name for name, _ in wanted],
        "formats": [form for _, form in wanted],
    }
    connection.execute(LOCK_TIMEOUT)
    connection.execute(sql.SQL(LOCK).format(**names))
    if pg.one(connection, UNDELIVERED, parameters)["undelivered"]:
        return False
    counted = pg.one(connection, sql.SQL(REMOVED).format(**names), parameters)
    if counted["events"] != counted["delivered"]:
        message = f"{day} has {counted['events']} events of which {counted['delivered']} were delivered; it is kept"
        raise HistoryError(message, hint="somebody changed events_log: compare its loads with their accepted")
    connection.execute(sql.SQL("drop table {events}, {rejected}").format(**names))
    log.info("Old day removed, delivered everywhere.", extra={"day": str(day), "events": counted["events"]})
    return True

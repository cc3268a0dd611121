"""Status: the ledger in, how far each destination is out."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from evothesis import pg
from evothesis.config import Config, Destination

STATUS = """
with behind as (
  -- planned, and in some wanted format not published here
  select e.export_id, e.rows
    from exports e
   where exists (
           select from unnest(%(formats)s::text[]) as wanted (format)
            where not exists (
                    select from deliveries d
                     where d.destination = %(name)s and d.export_id = e.export_id and d.format = wanted.format
                       and d.state = 'published'))
     and not exists (
           select from export_ranges r
             join removed x on x.writer = r.writer and x.segment_no between r.first_segment_no and r.last_segment_no
            where r.export_id = e.export_id)
), late as (
  select l.accepted, l.loaded_at
    from behind
    join export_ranges r using (export_id)
    join loads l on l.writer = r.writer and l.segment_no between r.first_segment_no and r.last_segment_no
   union all
  select l.accepted, l.loaded_at
    from writers w
    join loads l on l.writer = w.writer and l.segment_no > coalesce(
           (select max(r.last_segment_no) from export_ranges r where r.writer = w.writer), -1)
), files as (
  select count(*) filter (where state = 'planned') as planned, count(*) filter (where state = 'rendered') as rendered,
         count(*) filter (where state = 'stored') as stored, count(*) filter (where state = 'published') as published,
         coalesce(sum(attempts) filter (where state <> 'published'), 0)::bigint as attempts
    from deliveries where destination = %(name)s
), newest as (
  select sequence, created_at, published_at from manifests
   where destination = %(name)s and published_at is not null order by sequence desc limit 1
), totals as (
  select coalesce(sum(rows), 0)::bigint as rows from manifests
   where destination = %(name)s and published_at is not null
)
select files.*, totals.rows, newest.sequence as manifest, newest.published_at,
       (select count(*) from late) as lag_loads,
       (select coalesce(sum(accepted), 0)::bigint from late) as lag_events,
       (select coalesce(extract(epoch from now() - min(loaded_at)), 0)::bigint from late) as lag_seconds,
       d.conditional, d.tried_at, d.succeeded_at, coalesce(d.failures, 0) as failures, d.error, d.hint
  from files cross join totals
  left join newest on true
  left join destinations d on d.name = %(name)s
"""


class Lag(NamedTuple):
    """What was stored and does not stand in a manifest yet; seconds: since the oldest of it was stored."""

    loads: int
    events: int
    seconds: int


class Status(NamedTuple):
    """How far a destination is."""

    destination: str
    url: str
    manifest: int | None
    published_at: datetime | None
    rows: int  # in all manifests
    lag: Lag
    files: dict[str, int]  # by state
    attempts: int  # that failed, to bring the files which are not published yet
    conditional: bool | None  # None: not found out yet
    tried_at: datetime | None
    succeeded_at: datetime | None
    failures: int  # runs in a row
    error: str | None
    hint: str | None


def status(config: Config, connection: pg.Connection) -> list[Status]:
    """Every configured destination."""
    return [_status(connection, destination) for destination in config.export.destination]


def _status(connection: pg.Connection, destination: Destination) -> Status:
    row: dict[str, Any] = pg.one(connection, STATUS, {"name": destination.name, "formats": list(destination.formats)})
    states = ("planned", "rendered", "stored", "published")
    return Status(
        destination=destination.name,
        url=destination.url,
        lag=Lag(row["lag_loads"], row["lag_events"], row["lag_seconds"]),
        files={state: row[state] for state in states},
        **{name: row[name] for name in Status._fields if name in row and name not in states},
    )

"""Ledger: what was planned, rendered, stored and published, in the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.config import Destination
from evothesis.errors import DeliveryError, EvothesisError
from evothesis.exporter.encode import FORMATS, Encoded
from evothesis.exporter.lock import LOCK
from evothesis.exporter.plan import Chunk, Load
from evothesis.exporter.read import Planned
from evothesis.exporter.selection import Selection

UNPLANNED = """
-- a visible load implies that all loads of its writer before it are visible, with their events
select l.writer, l.segment_no, l.hour, l.accepted, l.first_received_at, l.last_received_at
  from writers w
  left join lateral (
    select max(r.last_segment_no) as segment_no from export_ranges r where r.writer = w.writer
  ) planned on true
  join loads l on l.writer = w.writer and l.segment_no > coalesce(planned.segment_no, -1)
 order by l.writer, l.segment_no
"""
PLAN = """
insert into exports (export_id, export_key, hour, first_received_at, last_received_at, rows)
select coalesce(max(export_id), 0) + 1, %(key)s, %(hour)s, %(first_received_at)s, %(last_received_at)s, %(rows)s
  from exports
returning export_id
"""
PLAN_RANGE = """
insert into export_ranges (export_id, writer, previous_segment_no, first_segment_no, last_segment_no)
values (%(export_id)s, %(writer)s, nullif(%(first)s - 1, -1), %(first)s, %(last)s)
"""
ADD_DELIVERIES = """
-- an hour without a stored event has no file: it is published as a range of loads only;
-- a destination that is new has no claim to what was removed before it was there;
-- a format that is added has the selection of the chunk's other files, and files of different content different names
insert into deliveries (destination, export_id, format, key, state, rows, selection)
select %(destination)s, e.export_id, %(format)s,
       format('events/%%s/%%s%%s.%%s',
              replace(replace(replace(%(layout)s, '{format}', %(format)s), '{dt}', to_char(e.hour, 'YYYY-MM-DD')),
                      '{hr}', to_char(e.hour, 'HH24')),
              e.export_key,
              '-' || left(encode(sha256(convert_to(nullif(s.selection, '{}')::text, 'UTF8')), 'hex'), 8),
              %(extension)s::text),
       case when e.rows = 0 then 'stored' else 'planned' end, e.rows, s.selection
  from exports e
  left join lateral (
    select d.selection from deliveries d where d.destination = %(destination)s and d.export_id = e.export_id limit 1
  ) before on true
  cross join lateral (select coalesce(before.selection, %(selection)s) as selection) s
 where not exists (
   select from export_ranges r
     join removed x on x.writer = r.writer and x.segment_no between r.first_segment_no and r.last_segment_no
    where r.export_id = e.export_id)
on conflict do nothing
"""
UNFINISHED = """
select d.destination, d.format, d.key, d.sha256, d.schema_version, d.selection,
       e.export_id, e.export_key, e.hour, e.first_received_at, e.last_received_at, e.rows
  from deliveries d join exports e using (export_id)
 where d.state in ('planned', 'rendered') and d.destination = any(%(destinations)s)
 order by e.export_id, d.format, d.destination
"""
RENDERED = """
update deliveries
   set state = 'rendered', rows = %(rows)s, bytes = %(bytes)s, sha256 = %(sha256)s, rows_by_site = %(rows_by_site)s,
       schema_version = %(schema_version)s, changed_at = now()
 where destination = %(destination)s and export_id = %(export_id)s and format = %(format)s
"""
STORED = """
update deliveries set state = 'stored', error = null, changed_at = now()
 where destination = %(destination)s and export_id = %(export_id)s and format = %(format)s
"""
FAILED = """
update deliveries set attempts = attempts + 1, error = %(error)s, changed_at = now()
 where destination = %(destination)s and export_id = %(export_id)s and format = %(format)s
"""
TRIED = """
insert into destinations as d (name, tried_at, succeeded_at, failures, error, hint)
values (%(name)s, now(), case when %(error)s::text is null then now() end, (%(error)s::text is not null)::int,
        %(error)s, %(hint)s)
on conflict (name) do update
   set tried_at = excluded.tried_at, succeeded_at = coalesce(excluded.succeeded_at, d.succeeded_at),
       failures = case when excluded.error is null then 0 else d.failures + 1 end,
       error = excluded.error, hint = excluded.hint
"""
PENDING = (
    "select count(*) as pending from deliveries where state <> 'published' and destination = any(%(destinations)s)"
)


class Delivery(NamedTuple):
    """One file for one destination."""

    destination: str
    format: str
    key: str
    sha256: bytes | None  # as recorded when it was rendered for the first time
    schema_version: int
    selection: Selection
    planned: Planned

    @classmethod
    def of(cls, row: dict[str, Any]) -> Delivery:
        """From a row that has the fields of both."""
        planned = Planned(**{name: row[name] for name in Planned._fields})
        selection = msgspec.convert(row["selection"], Selection)
        return cls(
            row["destination"], row["format"], row["key"], row["sha256"], row["schema_version"], selection, planned
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Its primary key."""
        return {"destination": self.destination, "export_id": self.planned.export_id, "format": self.format}


def lock(connection: pg.Connection) -> None:
    """Be the only one who plans and delivers, for as long as the connection lives. Raises DeliveryError."""
    if not pg.try_lock(connection, LOCK):
        message = "another export runs"
        raise DeliveryError(message, hint="wait for it to end")


def unplanned(connection: pg.Connection) -> list[Load]:
    """Loads that no chunk holds, by writer and number."""
    return [Load(**row) for row in connection.execute(UNPLANNED).fetchall()]


def plan(connection: pg.Connection, planned: list[Chunk], *, instance: str) -> None:
    """Record chunks."""
    for chunk in planned:
        fields = chunk._asdict() | {"key": chunk.key(instance)}
        del fields["ranges"]
        export_id = pg.one(connection, PLAN, fields)["export_id"]
        for writer, first, last in chunk.ranges:
            connection.execute(PLAN_RANGE, {"export_id": export_id, "writer": writer, "first": first, "last": last})


def add_deliveries(connection: pg.Connection, destination: Destination, selection: Selection) -> None:
    """Let a destination have every chunk in its formats; those that it has already stay as they are."""
    for form in destination.formats:
        connection.execute(
            ADD_DELIVERIES,
            {"destination": destination.name, "format": form, "extension": FORMATS[form].extension}
            | {"layout": destination.layout, "selection": Jsonb(selection.document)},
        )


def unfinished(connection: pg.Connection, destinations: list[str]) -> list[Delivery]:
    """What is not stored yet, chunk by chunk, so that a chunk is rendered once for all destinations."""
    return [Delivery.of(row) for row in connection.execute(UNFINISHED, {"destinations": destinations}).fetchall()]


def rendered(connection: pg.Connection, delivery: Delivery, file: Encoded) -> None:
    """The file's digest, recorded before its first byte leaves."""
    connection.execute(
        RENDERED,
        delivery.identity
        | {"rows": file.rows, "bytes": file.size_bytes, "sha256": file.sha256}
        | {"rows_by_site": Jsonb(file.rows_by_site)}
        | {"schema_version": file.schema_version},
    )


def stored(connection: pg.Connection, delivery: Delivery) -> None:
    """The object was read back and is right."""
    connection.execute(STORED, delivery.identity)


def failed(connection: pg.Connection, delivery: Delivery, error: Exception) -> None:
    """What went wrong, for `export status`."""
    connection.execute(FAILED, delivery.identity | {"error": str(error)})


def tried(connection: pg.Connection, destination: str, error: EvothesisError | None) -> None:
    """How a run ended for a destination, for `export status`."""
    failure = {"error": str(error) if error else None, "hint": error.hint if error else None}
    connection.execute(TRIED, {"name": destination} | failure)


def pending(connection: pg.Connection, destinations: list[str]) -> int:
    """Number of files that are not published yet."""
    return int(pg.one(connection, PENDING, {"destinations": destinations})["pending"])


def now(connection: pg.Connection) -> datetime:
    """The database's clock, which all recorded times share."""
    moment = pg.one(connection, "select now() as now")["now"]
    assert isinstance(moment, datetime)  # noqa: S101 - the type of now()
    return moment

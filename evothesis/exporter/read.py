"""Read: a chunk in, its rows as frames out, in an order that follows from the rows alone: by time, then by identity.

PostgreSQL hands out a short stretch of time in binary form, as it finds the rows; the driver makes columns of it, and
polars sorts them, which moves no text: no row becomes a text or an object of Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
from polars.exceptions import PolarsError
from psycopg import sql
from psycopg.conninfo import make_conninfo

from evothesis import pg
from evothesis.errors import UnreachableError
from evothesis.exporter.columns import Column, Kind, columns

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcConnection

STRETCH_ROWS = 16_000  # a few stretches are in memory at once, however large an event is
STRETCH_BYTES = 2**23
BATCH_BYTES = 2**22  # of the driver: small enough for memory that was used before, which costs the kernel nothing
LEAST = timedelta(microseconds=1)
ORDER = ("created_at", "writer", "segment_no", "idx")
FORMS = {  # in which each kind is handed out; an address without its mask, which text would have
    Kind.STRING: "{}::text",
    Kind.ADDRESS: "host({})",
    Kind.JSON: "{}::text",
    Kind.BOOLEAN: "{}",
    Kind.TIMESTAMP: "{}",
    Kind.INT32: "{}::integer",
    Kind.INT64: "{}::bigint",
}

LOADS = """
select l.first_received_at, l.accepted as rows, l.bytes
  from export_ranges r
  join loads l on l.writer = r.writer and l.segment_no between r.first_segment_no and r.last_segment_no
 where r.export_id = %(export_id)s and l.accepted > 0
 order by l.first_received_at
"""
SUMMARISE = """
-- by these a stretch is found; pages that are new have them only when PostgreSQL comes to it
select brin_summarize_new_values(i.inhrelid)
  from pg_inherits i
  join pg_index x on x.indexrelid = i.inhrelid
  join pg_class t on t.oid = x.indrelid
 where i.inhparent = 'events_log_created_at'::regclass
   and t.relname = to_char(%(hour)s at time zone 'UTC', '"events_log_"YYYYMMDD')
"""
ROWS = """
select {columns}
  from export_ranges r
  join events_log e on e.writer = r.writer and e.segment_no between r.first_segment_no and r.last_segment_no
 where r.export_id = {export_id} and e.created_at >= {begin} and e.created_at < {end}
"""


class Planned(NamedTuple):
    """A chunk as the ledger knows it."""

    export_id: int
    export_key: str
    hour: datetime
    first_received_at: datetime
    last_received_at: datetime
    rows: int


class Load(NamedTuple):
    """What a load adds to a chunk; `bytes`: of its segment."""

    first_received_at: datetime
    rows: int
    bytes: int


class Stretches(NamedTuple):
    """The time of a chunk in pieces, each from the first moment to before the second, and how large a row is."""

    edges: list[tuple[datetime, datetime]]
    row_bytes: int


def stretches(
    planned: Planned, loads: Sequence[Load], *, rows: int = STRETCH_ROWS, size_bytes: int = STRETCH_BYTES
) -> Stretches:
    """Cut the time of a chunk, whose loads are given by their first moment, into pieces of about this size. Pure."""
    moments = [planned.first_received_at]
    rows_so_far = bytes_so_far = 0
    for load in loads:
        if (rows_so_far >= rows or bytes_so_far >= size_bytes) and load.first_received_at > moments[-1]:
            moments.append(load.first_received_at)
            rows_so_far = bytes_so_far = 0
        rows_so_far += load.rows
        bytes_so_far += load.bytes
    edges = list(pairwise([*moments, planned.last_received_at + LEAST]))
    return Stretches(edges, sum(load.bytes for load in loads) // max(planned.rows, 1) + 1)


class Reader:
    """Reads chunks, over connections of its own: the other one keeps the ledger meanwhile."""

    def __init__(self, connection: pg.Connection) -> None:
        """Read from the database of this connection."""
        self._connection = connection
        settings = connection.info.get_parameters()
        if connection.info.password:
            settings["password"] = connection.info.password
        # one process of PostgreSQL for one of ours
        settings["options"] += " -c max_parallel_workers_per_gather=0"
        self._conninfo = make_conninfo("", **settings)

    def stretches(self, planned: Planned) -> Stretches:
        """How a chunk is read."""
        loads = self._connection.execute(LOADS, {"export_id": planned.export_id}).fetchall()
        found = stretches(planned, [Load(**row) for row in loads])
        if len(found.edges) > 1:
            self._connection.execute(SUMMARISE, {"hour": planned.hour})
        return found

    def frames(
        self, planned: Planned, edges: Iterable[tuple[datetime, datetime]], *, schema_version: int
    ) -> Iterator[pl.DataFrame]:
        """The rows of a chunk with the columns of a schema version. Raises UnreachableError."""
        from adbc_driver_manager import AdbcConnection, Error
        from adbc_driver_postgresql import connect  # type: ignore[import-untyped]  # it has no stubs

        names = sql.SQL(", ").join(map(_selected, columns(schema_version)))
        try:
            with closing(connect(self._conninfo)) as database, closing(AdbcConnection(database)) as connection:
                queries = (
                    sql.SQL(ROWS).format(columns=names, export_id=planned.export_id, begin=begin, end=end).as_string()
                    for begin, end in edges
                )
                for frame in _ahead(connection, queries):
                    yield frame.sort(ORDER)
        except (Error, PolarsError) as error:
            message = f"cannot read events from PostgreSQL: {str(error).partition(chr(10))[0]}"
            raise UnreachableError(message, hint="run the command again") from error


def _ahead(connection: AdbcConnection, queries: Iterator[str]) -> Iterator[pl.DataFrame]:
    """What the queries give; the next one runs while one is worked on, for PostgreSQL works only when it is asked."""
    with ThreadPoolExecutor(1) as executor:
        coming = executor.submit(_frame, connection, next(queries))
        for query in queries:
            frame = coming.result()
            coming = executor.submit(_frame, connection, query)
            yield frame
        yield coming.result()


def _frame(connection: AdbcConnection, query: str) -> pl.DataFrame:
    from adbc_driver_manager import AdbcStatement

    with closing(AdbcStatement(connection)) as statement:
        statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
        statement.set_sql_query(query)
        stream, _ = statement.execute_query()
        return pl.DataFrame(stream)


def _selected(column: Column) -> sql.Composed:
    name = sql.Identifier(column.name)
    return sql.SQL(FORMS[column.kind] + " as {}").format(sql.Identifier("e", column.name), name)

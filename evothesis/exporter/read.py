"""Read: a chunk in, its rows as a CSV file out, in the order of their identity."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from evothesis import pg
from evothesis.exporter.columns import Column, Kind, columns

# PostgreSQL writes NULL as nothing and an empty text as "": polars reads both as they are meant
ROWS = """
copy (
  select {columns}
    from export_ranges r
    join events_log e
      on e.writer = r.writer and e.segment_no between r.first_segment_no and r.last_segment_no
   where r.export_id = %(export_id)s
     and e.created_at between %(first_received_at)s and %(last_received_at)s
   order by e.writer, e.segment_no, e.idx
) to stdout (format csv)
"""


class Planned(NamedTuple):
    """A chunk as the ledger knows it."""

    export_id: int
    export_key: str
    hour: datetime
    first_received_at: datetime
    last_received_at: datetime
    rows: int


def read(connection: pg.Connection, planned: Planned, target: Path, *, schema_version: int) -> int:
    """Write the rows of a chunk to `target`, with the columns of a schema version; returns how many there were."""
    query = sql.SQL(ROWS).format(columns=sql.SQL(", ").join(map(_selected, columns(schema_version))))
    with connection.cursor() as cursor, target.open("wb") as file, cursor.copy(query, planned._asdict()) as copy:
        for block in copy:
            file.write(block)
        return cursor.rowcount


def _selected(column: Column) -> sql.Composed:
    # an address without its mask, which text would have
    return sql.SQL("host({})" if column.kind is Kind.ADDRESS else "{}").format(sql.Identifier("e", column.name))

"""What an engineer would use instead of an export: one program a way, each from a database into one zstd Parquet file.

    python -m benchmarks.peers.exports copy|pandas|duckdb DSN FILE

`copy` is the limit: it reads the same columns of the same rows as COPY hands them out, and keeps nothing.
"""

from __future__ import annotations

import sys

from evothesis.exporter.columns import COLUMNS, Kind

AS_TEXT = {"event_id": "event_id::text", "ip_address": "host(ip_address)", "raw_event_data": "raw_event_data::text"}
QUERY = f"select {', '.join(AS_TEXT.get(c.name, c.name) + ' as ' + c.name for c in COLUMNS)} from events_log"  # noqa: S608 - names of columns
CHUNK_ROWS = 100_000


def copy(dsn: str, _target: str) -> None:
    """COPY to stdout, read to its end."""
    import psycopg

    query = f"copy ({QUERY}) to stdout (format csv)".encode()
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor, cursor.copy(query) as stream:
        for _ in stream:
            pass


def pandas(dsn: str, target: str) -> None:
    """SQLAlchemy with a cursor of the server, pandas in chunks, pyarrow for the file."""
    import pandas as pd
    import psycopg
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sqlalchemy import create_engine, text

    others = {Kind.TIMESTAMP: pa.timestamp("us", "UTC"), Kind.BOOLEAN: pa.bool_()}
    others |= {Kind.INT32: pa.int32(), Kind.INT64: pa.int64()}
    schema = pa.schema([(column.name, others.get(column.kind, pa.string())) for column in COLUMNS])
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    connecting = engine.connect().execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
    with connecting as connection, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for chunk in pd.read_sql(text(QUERY), connection, chunksize=CHUNK_ROWS):
            writer.write_table(pa.Table.from_pandas(chunk, schema=schema, preserve_index=False))


def duckdb(dsn: str, target: str) -> None:
    """DuckDB's postgres scanner, with one connection, as an export has."""
    from duckdb import connect
    from duckdb_extensions import import_extension

    import_extension("postgres_scanner")
    with connect() as connection:
        connection.load_extension("postgres_scanner")
        connection.execute("set threads = 1")
        connection.execute(f"attach '{dsn}' as pg (type postgres, read_only)")
        connection.sql("from pg.events_log").write_parquet(target, compression="zstd")


if __name__ == "__main__":
    {"copy": copy, "pandas": pandas, "duckdb": duckdb}[sys.argv[1]](*sys.argv[2:])

r"""Copy limit: what `\copy` reaches by itself, with the same rows, into the same partition; nothing else runs.

Rows are taken from a file that `export_rows` wrote from a database that had received them, or made here.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.machine import Rate, Usage, Watch
from benchmarks.runs import drive
from benchmarks.systems import Appliance, Database, scalar
from evothesis.appliance.postgres import binaries
from evothesis.event import COLUMNS

SERVER = ("backends", "postgres, background")
INDEXED = "indexed"
INDEXED_TABLE = """
create table if not exists indexed (
  like events_log including defaults including indexes, id serial primary key, processed_at timestamptz
);
create index if not exists indexed_timestamp on indexed (timestamp);
create index if not exists indexed_site_id_created_at on indexed (site_id, created_at);
create index if not exists indexed_processed_at on indexed (processed_at)
"""
NAMES = ("writer", "segment_no", "idx", "event_id_reused", *COLUMNS)
REQUESTS = 30_000
REAP_SECONDS = 0.2  # until PostgreSQL has counted the backend that ended


def export_rows(connection: psycopg.Connection, path: Path) -> None:
    """Write all of events_log as COPY text."""
    query = sql.SQL("copy (select {} from events_log) to stdout").format(_columns(NAMES))
    with path.open("wb") as file, connection.cursor().copy(query) as copy:
        for block in copy:
            file.write(block)


class Copied(Rate):
    r"""Rows that `\copy` stored."""

    def __init__(self, rows: int, seconds: float, usage: Usage) -> None:
        """`seconds` is how long psql took."""
        self.events = rows
        self.events_per_second = rows / seconds
        self.usage = usage


def copy(database: Database, path: Path, *, indexed: bool = False) -> Copied:
    r"""`\copy` a file into its day's partition, or into a table like it with the first version's key and indexes."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        table = INDEXED if indexed else _partition(connection, path)
        count = sql.SQL("select count(*) from {}").format(sql.Identifier(table))
        connection.execute(INDEXED_TABLE)
        before = scalar(connection, count)
        connection.execute("checkpoint")
        columns = _columns(NAMES).as_string(connection)
        watch = Watch()
        began = time.monotonic()
        command = [str(binaries() / "psql"), "--no-psqlrc", "--quiet", "--dbname", database.dsn]
        copying = f"\\copy {table} ({columns}) from '{path}'"
        subprocess.run([*command, "--set", "ON_ERROR_STOP=1", "--command", copying], check=True)
        seconds = time.monotonic() - began
        time.sleep(REAP_SECONDS)
        usage = watch.stop()
        return Copied(scalar(connection, count) - before, seconds, usage)


def _partition(connection: psycopg.Connection, path: Path) -> str:
    with path.open() as file:
        created_at = file.readline().split("\t")[NAMES.index("created_at")]
    connection.execute("select ensure_partitions(%s::date)", [created_at[:10]])
    return f"events_log_{created_at[:10].replace('-', '')}"


def _columns(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _arguments() -> Any:  # noqa: ANN401 - argparse has no types
    parser = report.parser("copy_limit", __doc__)
    parser.add_argument("--rows", type=Path, help="COPY text of events_log (made by sending events)")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of ten events, to make rows (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    return parser.parse_args()


def make_rows(folder: Path, requests: int) -> Path:
    """Send requests to an appliance and take out what it stored."""
    system = Appliance(folder / "evothesis")
    path = folder.absolute() / "rows.copy"
    system.start()
    try:
        drive(system, ["--requests", str(requests)])
        with system.connect() as connection:
            export_rows(connection, path)
    finally:
        system.stop()
    return path


def main() -> None:
    """Measure the limit, and what indexes cost."""
    arguments = _arguments()
    patience = report.patience(arguments)
    path = arguments.rows or make_rows(arguments.folder, arguments.requests)
    database = Database(arguments.folder / "limit")
    found: dict[str, list[Copied]] = {"events_log": [], "with the first version's key and B-trees": []}
    database.start()
    try:
        for _ in range(arguments.rounds):
            for indexed, runs in enumerate(found.values()):
                runs.append(patience.accepted(lambda: copy(database, path, indexed=bool(indexed)))[0])  # noqa: B023 - called at once
    finally:
        database.stop()
    shutil.rmtree(arguments.folder)
    lines = []
    for name, runs in found.items():
        rates = report.spread([run.events_per_second for run in runs])
        cost = statistics.median(run.microseconds(*SERVER) for run in runs)
        others = max(run.usage.foreign_cores for run in runs)
        lines.append([name, rates["median"], rates["min"], rates["max"], round(cost, 1), f"{others:.2f}"])
    header = ["`\\copy` into", "rows/s", "min", "max", "µs of PostgreSQL's CPU/row", "foreign cores ≤"]
    result = {"rounds": {name: [run.as_json() for run in runs] for name, runs in found.items()}}
    report.finish(arguments.json, result, [report.table(header, lines)])


if __name__ == "__main__":
    report.run(main)

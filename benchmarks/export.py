"""Export: rows per second and memory of `evothesis export` to zstd Parquet, beside COPY and what else one would use.

Each way is a process of its own, its start included, and reads the same rows over one connection; they take turns.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import tomli_w
from psycopg import sql

from benchmarks import report
from benchmarks.copy_limit import NAMES, make_rows
from benchmarks.machine import Rate, Usage, Watch
from benchmarks.systems import ROOT, Database, scalar

BAR = 0.8
MIB = 2**20
EVENTS_PER_REQUEST = 10
ROWS_A_MONTH = 300_000_000
EXPORT = "evothesis export"
WAYS = {"copy": "the limit: COPY to stdout", "pandas": "SQLAlchemy and pandas", "duckdb": "DuckDB's postgres scanner"}
STAGE = "create unlogged table staged (like events_log including defaults)"
DAYS = "select ensure_partitions(day) from (select distinct (created_at at time zone 'UTC')::date as day from staged) d"
FILL = """
-- in the order in which a loader would have stored them: segment after segment of all writers as they were sealed
insert into events_log ({all})
select s.writer + copy, sealed.number, {others}
  from staged s
  join (select writer, segment_no, max(created_at) as moment,
               row_number() over (partition by writer order by segment_no) - 1 as number
          from staged group by writer, segment_no) sealed using (writer, segment_no)
 cross join generate_series(0, %(copies)s - 1) copy
 order by sealed.moment, copy, s.writer, s.idx
"""
LOADS = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at, accepted, duplicate, rejected,
                   withheld, damaged, bytes)
select writer, segment_no, ''::bytea, date_trunc('hour', min(created_at)), min(created_at), max(created_at), count(*),
       0, 0, 0, 0, 0
  from events_log group by writer, segment_no
"""
WRITERS = "insert into writers (writer, next_segment_no) select writer, max(segment_no) + 1 from loads group by writer"


class Exported(Rate):
    """Rows that went out, and the most memory that the process had."""

    def __init__(self, rows: int, seconds: float, memory_bytes: int, usage: Usage) -> None:
        """`seconds` is how long the process lived."""
        self.events = rows
        self.events_per_second = rows / seconds
        self.memory_mib = memory_bytes / MIB
        self.usage = usage

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return super().as_json() | {"memory_mib": round(self.memory_mib)}


def fill(database: Database, path: Path, rows: int) -> int:
    """Store the rows of a file, as often as it takes to have so many; each copy as those of other writers."""
    names = sql.SQL(", ").join(map(sql.Identifier, NAMES))
    others = [name for name in NAMES if name not in ("writer", "segment_no")]
    columns = ["writer", "segment_no", *others]
    filling = sql.SQL(FILL).format(
        all=sql.SQL(", ").join(map(sql.Identifier, columns)), others=sql.SQL(", ").join(map(sql.Identifier, others))
    )
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute(STAGE)
        staging = sql.SQL("copy staged ({}) from stdin").format(names)
        with path.open("rb") as file, connection.cursor() as cursor, cursor.copy(staging) as copy:
            while block := file.read(MIB):
                copy.write(block)
        connection.execute(DAYS)
        copies = -(-rows // scalar(connection, "select count(*) from staged"))
        connection.execute("set work_mem = '1GB'")
        connection.execute(filling, {"copies": copies})
        for statement in (LOADS, WRITERS, "drop table staged", "vacuum analyze events_log", "checkpoint"):
            connection.execute(statement)
        return scalar(connection, "select count(*) from events_log")


def measured(command: list[str], rows: int, folder: Path) -> Exported:
    """Run a program to its end."""
    watch = Watch()
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{' '.join(command[:4])} failed"
        raise RuntimeError(message)
    return Exported(rows, seconds, used.ru_maxrss * 1024, watch.stop())


def export(database: Database, rows: int, folder: Path) -> Exported:
    """Deliver everything to a destination that has nothing yet."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "unfinished").mkdir(parents=True)
    destination = {"name": f"bucket-{time.monotonic_ns()}", "url": "file:bucket"}
    settings = {"database": {"url": database.dsn, "retention_days": 36_500}, "export": {"destination": [destination]}}
    (folder / "config.toml").write_text(tomli_w.dumps(settings))
    os.environ["TMPDIR"] = str(folder / "unfinished")  # the disk that is measured
    return measured(["-m", "evothesis", "export", "--config", "config.toml"], rows, folder)


def peer(way: str, database: Database, rows: int, folder: Path) -> Exported:
    """Read everything in another way."""
    target = folder / f"{way}.parquet"
    target.unlink(missing_ok=True)
    return measured(["-m", "benchmarks.peers.exports", way, database.dsn, str(target)], rows, folder)


def tables(found: dict[str, list[Exported]], rows: int) -> list[str]:
    """What is printed."""
    rates = {name: report.spread([run.events_per_second for run in runs]) for name, runs in found.items()}
    ours, limit = rates[EXPORT]["median"], rates[WAYS["copy"]]["median"]
    ratios = [
        [f"{EXPORT} / {name}", ours / rate["median"], f"≥ {BAR}" if name == WAYS["copy"] else ""]
        for name, rate in rates.items()
        if name != EXPORT
    ]
    lines = [
        [
            name,
            rate["median"],
            rate["min"],
            rate["max"],
            round(statistics.median(run.memory_mib for run in found[name])),
        ]
        for name, rate in rates.items()
    ]
    met = "met" if ours / limit >= BAR else "missed"
    minutes = ROWS_A_MONTH / ours / 60
    return [
        report.table(["ratio", "measured", "bar"], ratios),
        report.table(["rows/s", "median", "min", "max", "memory, MiB"], lines),
        f"{rows:,} rows; the bar is {met}. 300 million rows a month take {minutes:,.0f} minutes at this rate.",
    ]


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("export", __doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="at least; 10000000 shows memory (%(default)s)")
    parser.add_argument("--sent", type=int, default=300_000, help="events that are sent to make them (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--only-export", action="store_true", help="leave out the ways beside it but COPY")
    arguments = parser.parse_args()
    patience = report.patience(arguments)
    folder = arguments.folder.absolute()
    path = make_rows(folder, arguments.sent // EVENTS_PER_REQUEST)
    database = Database(folder / "database")
    ways = {"copy": WAYS["copy"]} if arguments.only_export else WAYS
    found: dict[str, list[Exported]] = {EXPORT: [], **{name: [] for name in ways.values()}}
    database.start()
    try:
        rows = fill(database, path, arguments.rows)
        for _ in range(arguments.rounds):
            found[EXPORT].append(patience.accepted(lambda: export(database, rows, folder / "export"))[0])
            for way, name in ways.items():
                run, _rejected = patience.accepted(lambda: peer(way, database, rows, folder))  # noqa: B023 - called at once
                found[name].append(run)
    finally:
        database.stop()
    shutil.rmtree(folder)
    result = {"rows": rows, "rounds": {name: [run.as_json() for run in runs] for name, runs in found.items()}}
    report.finish(arguments.json, result, tables(found, rows))


if __name__ == "__main__":
    report.run(main)

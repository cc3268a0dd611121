"""Growth: the rate with many stored events beside the rate with few, and the memory of every process meanwhile.

Two appliances, an empty one and one that was filled, take the same load in turn, so that a slow minute meets both. The
fill repeats what a real run stored, with other ids, on this day and the three before it: events, loads, usage, and the
keys that recognise a retry, all of which lie in the window in which a new event is looked for.
"""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.machine import PROC, family, group, processes
from benchmarks.report import say, spread
from benchmarks.runs import Run, drive
from benchmarks.systems import Appliance, scalar

ROWS = 20_000_000
BAR = 0.9
SEED_REQUESTS = 20_000
DAYS = 4  # today and the window before it
SHIFT_MILLISECONDS = 1_000  # between the ids of two repetitions
DAY_MILLISECONDS = 86_400_000
SAMPLE_SECONDS = 1.0
SETTLED_SHARE = 0.2  # of the samples, until caches and buffers have their size

# how a column of a repetition differs; the first 48 bits of a UUIDv7 are its time, RFC 9562
UUID: LiteralString = """
(lpad(to_hex(('x' || left(replace({column}::text, '-', ''), 12))::bit(48)::bigint - %(milliseconds)s), 12, '0')
 || substr(replace({column}::text, '-', ''), 13))::uuid
"""
WRITER: LiteralString = "-(%(number)s::int * 100 + array_position(%(writers)s::int[], {column}))"
MOMENT: LiteralString = "{column} - make_interval(days => %(days)s)"
DATE: LiteralString = "{column} - %(days)s::int"
COLUMNS: LiteralString = """
select attname, format_type(atttypid, null) from pg_attribute
 where attrelid = %(table)s::regclass and attnum > 0 and not attisdropped order by attnum
"""


def fill(connection: psycopg.Connection, rows_max: int) -> int:
    """Repeat what is stored until there are so many rows; returns how many there are."""
    connection.execute("set synchronous_commit = off")  # of the fill only
    today = connection.execute("select max(created_at at time zone 'UTC')::date from events_log").fetchone()
    assert today is not None  # noqa: S101 - an aggregate always has a row
    for days in range(DAYS):
        connection.execute("select ensure_partitions(%s)", [today[0] - timedelta(days=days)])
    writers = [row[0] for row in connection.execute("select distinct writer from loads order by 1")]
    for table in ("loads", "usage_ledger", "events_log", "dedup_keys"):
        name = sql.Identifier(table)
        connection.execute(sql.SQL("create temp table {} as table {}").format(sql.Identifier(f"seed_{table}"), name))
    rows = scalar(connection, "select count(*) from seed_events_log")
    repetitions = max(0, rows_max - rows) // rows
    for number in range(1, repetitions + 1):
        days = number % DAYS
        milliseconds = days * DAY_MILLISECONDS + number * SHIFT_MILLISECONDS
        values = {"number": number, "days": days, "milliseconds": milliseconds, "writers": writers}
        suffix = f"{today[0] - timedelta(days=days):%Y%m%d}"
        with connection.transaction():
            _repeat(connection, "loads", "loads", values)
            _repeat(connection, "usage_ledger", "usage_ledger", values)
            _repeat(connection, "events_log", f"events_log_{suffix}", values)
            _repeat(connection, "dedup_keys", f"dedup_keys_{suffix}", values)
    connection.execute("reset synchronous_commit")
    # what autovacuum would do some time, so that it does not come in the middle of a run
    connection.execute("vacuum analyze")
    return rows * (repetitions + 1)


def _repeat(connection: psycopg.Connection, source: str, target: str, values: dict[str, object]) -> None:
    changed = {"uuid": UUID, "timestamp with time zone": MOMENT, "date": DATE}
    columns = connection.execute(COLUMNS, {"table": target}).fetchall()
    expressions = [
        sql.SQL(WRITER if name == "writer" else changed.get(kind, "{column}")).format(column=sql.Identifier(name))
        for name, kind in columns
    ]
    query = sql.SQL("insert into {} ({}) select {} from {}").format(
        sql.Identifier(target),
        sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        sql.SQL(", ").join(expressions),
        sql.Identifier(f"seed_{source}"),
    )
    connection.execute(query, values)


@contextmanager
def watching(root: int) -> Iterator[list[dict[str, float]]]:
    """Private megabytes (RssAnon) of each process, again and again: shared buffers belong to nobody."""
    samples: list[dict[str, float]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            sample: dict[str, float] = {}
            for process in family(root, processes()).values():
                try:
                    lines = (PROC / str(process.pid) / "status").read_text().splitlines()
                except OSError:
                    continue
                size = next((line.split()[1] for line in lines if line.startswith("RssAnon")), "0")
                name = f"{group(process.title)} {process.pid}"
                sample[name] = int(size) / 1024
            samples.append(sample)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def memory(samples: list[dict[str, float]]) -> list[list[object]]:
    """For each process that lived all the time: private MiB once settled, at the end, and the most."""
    settled = samples[int(len(samples) * SETTLED_SHARE) :]
    names = [name for name in settled[0] if all(name in sample for sample in settled)]
    return [
        [name.rpartition(" ")[0], settled[0][name], settled[-1][name], max(sample[name] for sample in settled)]
        for name in sorted(names)
    ]


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("growth", __doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="stored in the filled one (%(default)s)")
    parser.add_argument("--requests", type=int, default=20_000, help="of ten events, in each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    arguments = parser.parse_args()
    patience = report.patience(arguments)
    shutil.rmtree(arguments.folder, ignore_errors=True)
    systems = {name: Appliance(arguments.folder / name) for name in ("empty", "filled")}
    found: dict[str, list[Run]] = {name: [] for name in systems}
    options = ["--requests", str(arguments.requests)]
    try:
        for system in systems.values():
            system.start()
        drive(systems["filled"], ["--requests", str(min(SEED_REQUESTS, arguments.rows // 100))])
        began = time.monotonic()
        with systems["filled"].connect() as connection:
            rows = fill(connection, arguments.rows)
        say(f"filled: {rows:,} rows in {time.monotonic() - began:.0f} s")
        process = systems["filled"].process
        assert process is not None  # noqa: S101 - it was started
        with watching(process.pid) as samples:
            for _ in range(arguments.rounds):
                for name, system in systems.items():
                    run, _rejected = patience.accepted(lambda: drive(system, options))  # noqa: B023 - called at once
                    found[name].append(run)
                    say(f"{name}: {run.events_per_second:,.0f} events/s; others {run.usage.foreign_cores:.2f} cores")
    finally:
        for system in systems.values():
            system.stop()
    shutil.rmtree(arguments.folder)
    rates = {name: spread([run.events_per_second for run in runs]) for name, runs in found.items()}
    ratio = statistics.median(run.events_per_second for run in found["filled"]) / rates["empty"]["median"]
    lines = [
        [name, rate["median"], rate["min"], rate["max"], f"{max(run.usage.foreign_cores for run in found[name]):.2f}"]
        for name, rate in rates.items()
    ]
    sizes = memory(samples)
    result = {
        "rows": rows,
        "ratio": ratio,
        "rounds": {name: [run.as_json() for run in runs] for name, runs in found.items()},
        "memory_mib": sizes,
    }
    tables = [
        report.table(["ratio", "measured", "bar"], [[f"at {rows:,} rows / at none", ratio, f"≥ {BAR}"]]),
        report.table(["events/s", "median", "min", "max", "foreign cores ≤"], lines),
        report.table(["private memory, MiB", "settled", "at the end", "most"], sizes),
    ]
    report.finish(arguments.json, result, tables)


if __name__ == "__main__":
    main()

"""Growth: the rate with many stored events beside the rate with few, and the memory of every process meanwhile.

Two appliances, an empty one and one that was filled, take the same load in turn, so that a slow minute meets both. The
fill repeats what a real run stored, with other ids, on this day and the three before it: events, loads, usage, and the
keys that recognise a retry, all of which lie in the window in which a new event is looked for. Twenty million rows take
30 GB, which are given back in the end, however it ends.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.machine import PROC, family, group, processes
from benchmarks.report import say, spread
from benchmarks.runs import Run, drive
from benchmarks.systems import Appliance, scalar

ROWS = 20_000_000
ROW_BYTES = 1_400  # with its key
OTHER_BYTES = 8 * 2**30  # WAL, spools and what the runs store, twice
BAR = 0.9
SEED_REQUESTS = 20_000
WARM_UP_REQUESTS = 1_000
DAYS = 4  # today and the window before it
SHIFT_MILLISECONDS = 1_000  # between the ids of two repetitions
DAY_MILLISECONDS = 86_400_000
SAMPLE_SECONDS = 1.0
SETTLED_SHARE = 0.2  # of the samples, until caches and buffers have their size
SAY_SECONDS = 20.0

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
    done, said_at = 1, time.monotonic()
    for days in reversed(range(DAYS)):
        suffix = f"{today[0] - timedelta(days=days):%Y%m%d}"
        events, keys = f"events_log_{suffix}", f"dedup_keys_{suffix}"
        for number in range(days or DAYS, repetitions + 1, DAYS):
            milliseconds = days * DAY_MILLISECONDS + number * SHIFT_MILLISECONDS
            values = {"number": number, "days": days, "milliseconds": milliseconds, "writers": writers}
            with connection.transaction():
                _repeat(connection, "loads", "loads", values)
                _repeat(connection, "usage_ledger", "usage_ledger", values)
                _repeat(connection, "events_log", events, values)
                _repeat(connection, "dedup_keys", keys, values)
            done += 1
            if time.monotonic() > said_at + SAY_SECONDS:
                say(f"{done * rows:,} rows")
                said_at = time.monotonic()
        # what autovacuum would do some time, so that it does not come in the middle of a run; while they are cached
        connection.execute(sql.SQL("vacuum analyze {}, {}").format(sql.Identifier(events), sql.Identifier(keys)))
    connection.execute("vacuum analyze loads, usage_ledger")
    connection.execute("reset synchronous_commit")
    return rows * done


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
    """Anonymous MiB (RssAnon) of each process, again and again: shared buffers and files belong to nobody."""
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
                sample[f"{_name(process.title)} {process.pid}"] = int(size) / 1024
            samples.append(sample)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _name(title: str) -> str:
    kind = group(title)
    # the title of a backend says what it does at the moment
    return kind if kind == "backends" else title.partition(": ")[2].strip() or kind


def memory(samples: list[dict[str, float]]) -> list[tuple[str, float, float, float, float]]:
    """For each process that lived all the time: MiB at the begin, once settled, at the end, and the most."""
    settled = samples[int(len(samples) * SETTLED_SHARE) :]
    names = [name for name in samples[0] if all(name in sample for sample in samples)]
    return [
        (
            name.rpartition(" ")[0],
            samples[0][name],
            settled[0][name],
            settled[-1][name],
            max(sample[name] for sample in samples),
        )
        for name in sorted(names)
    ]


def _check_room(folder: Path, rows: int) -> None:
    folder.mkdir(parents=True)
    wanted, free = rows * ROW_BYTES + OTHER_BYTES, shutil.disk_usage(folder).free
    if free < wanted:
        message = f"{folder} has {free / 2**30:.0f} GiB free, {rows:,} rows want {wanted / 2**30:.0f}: see --rows"
        raise RuntimeError(message)


def measure(arguments: argparse.Namespace) -> tuple[int, dict[str, list[Run]], list[dict[str, float]]]:
    """How many rows the filled one had, the runs of both, and the memory of the filled one meanwhile."""
    patience = report.patience(arguments)
    systems = {name: Appliance(arguments.folder / name) for name in ("empty", "filled")}
    found: dict[str, list[Run]] = {name: [] for name in systems}
    options = ["--requests", str(arguments.requests)]
    try:
        for system in systems.values():
            system.start()
        drive(systems["empty"], ["--requests", str(WARM_UP_REQUESTS)])
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
        return rows, found, samples
    finally:
        for system in systems.values():
            system.stop()


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("growth", __doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="stored in the filled one (%(default)s)")
    parser.add_argument("--requests", type=int, default=40_000, help="of ten events, in each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    _check_room(arguments.folder, arguments.rows)
    try:
        rows, found, samples = measure(arguments)
    finally:
        shutil.rmtree(arguments.folder)
    rates = {name: spread([run.events_per_second for run in runs]) for name, runs in found.items()}
    ratio = rates["filled"]["median"] / rates["empty"]["median"]
    lines = [
        [name, rate["median"], rate["min"], rate["max"], f"{max(run.usage.foreign_cores for run in found[name]):.2f}"]
        for name, rate in rates.items()
    ]
    sizes = memory(samples)
    grown = max(end - settled for _name, _begin, settled, end, _most in sizes)
    result = {
        "rows": rows,
        "ratio": ratio,
        "rounds": {name: [run.as_json() for run in runs] for name, runs in found.items()},
        "memory_mib": sizes,
    }
    verdicts = [
        [f"events/s at {rows:,} rows / at none", ratio, f"≥ {BAR}"],
        ["the most that a process grew once settled, MiB", grown, "flat"],
    ]
    tables = [
        report.table(["growth", "measured", "bar"], verdicts),
        report.table(["events/s", "median", "min", "max", "foreign cores ≤"], lines),
        report.table(["memory of each process, MiB", "at the begin", "settled", "at the end", "most"], sizes),
    ]
    report.finish(arguments.json, result, tables)


if __name__ == "__main__":
    report.run(main)

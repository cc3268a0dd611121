r"""Copy limit: what `\copy` reaches by itself, with the same rows, into the same partition; nothing else runs.

Rows are taken from a file that `export_rows` wrote from a database that had received them, or made here.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.machine import Usage, Watch
from benchmarks.runs import drive
from benchmarks.systems import Appliance, Database, scalar
from evothesis.appliance.postgres import binaries
from evothesis.event import COLUMNS

NAMES = ("writer", "segment_no", "idx", "event_id_reused", *COLUMNS)
REQUESTS = 30_000
REAP_SECONDS = 0.2  # until PostgreSQL has counted the backend that ended


def export_rows(connection: psycopg.Connection, path: Path) -> None:
    """Write all of events_log as COPY text."""
    query = sql.SQL("copy (select {} from events_log) to stdout").format(_columns(NAMES))
    with path.open("wb") as file, connection.cursor().copy(query) as copy:
        for block in copy:
            file.write(block)


class Copied(NamedTuple):
    r"""Rows that `\copy` stored, how long it took and what it used."""

    events: int
    seconds: float
    usage: Usage

    @property
    def events_per_second(self) -> float:
        """Rows a second."""
        return self.events / self.seconds

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "events": self.events,
            "events_per_second": round(self.events_per_second, 1),
            "microseconds_per_event": {
                name: round(seconds / self.events * 1e6, 2) for name, seconds in sorted(self.usage.cpu_seconds.items())
            },
            **self.usage.as_json(),
        }


def copy(database: Database, path: Path) -> Copied:
    r"""`\copy` a file into its day's partition."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        partition = _partition(connection, path)
        before = scalar(connection, "select count(*) from events_log")
        connection.execute("checkpoint")
        columns = _columns(NAMES).as_string(connection)
        watch = Watch()
        began = time.monotonic()
        command = [str(binaries() / "psql"), "--no-psqlrc", "--quiet", "--dbname", database.dsn]
        copying = f"\\copy {partition} ({columns}) from '{path}'"
        subprocess.run([*command, "--set", "ON_ERROR_STOP=1", "--command", copying], check=True)
        seconds = time.monotonic() - began
        time.sleep(REAP_SECONDS)
        usage = watch.stop()
        rows = scalar(connection, "select count(*) from events_log") - before
    return Copied(rows, seconds, usage)


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
    """Measure the limit alone."""
    arguments = _arguments()
    path = arguments.rows or make_rows(arguments.folder, arguments.requests)
    database = Database(arguments.folder / "limit")
    database.start()
    try:
        patience = report.patience(arguments)
        found = [patience.accepted(lambda: copy(database, path))[0] for _ in range(arguments.rounds)]
    finally:
        database.stop()
    shutil.rmtree(arguments.folder)
    rates = report.spread([copied.events_per_second for copied in found])
    lines = [["`\\copy` into events_log", rates["median"], rates["min"], rates["max"]]]
    result = {"rows_per_second": rates, "rounds": [copied.as_json() for copied in found]}
    report.finish(arguments.json, result, [report.table(["rows/s", "median", "min", "max"], lines)])


if __name__ == "__main__":
    main()

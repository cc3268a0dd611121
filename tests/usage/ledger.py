"""A database whose loads are made up: what usage reads, written as a loader does it, without any event."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from evothesis import pg
from evothesis.config import Config
from evothesis.usage.meter import Group, Month
from evothesis.usage.report import report

ROOT = Path(__file__).parent.parent.parent
COUNTED = ("accepted", "duplicate", "rejected", "withheld", "bots")

ADVANCE = """
insert into writers as w (writer, next_segment_no) values (%(writer)s, 0) on conflict (writer) do update
   set next_segment_no = w.next_segment_no
returning next_segment_no
"""
MOVE = "update writers set next_segment_no = next_segment_no + 1 where writer = %(writer)s"
LOAD = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes)
values (%(writer)s, %(segment_no)s, '', %(hour)s, %(hour)s, %(hour)s,
        %(accepted)s, %(duplicate)s, %(rejected)s, %(withheld)s, 0, 0)
"""
ENTRY = """
insert into usage_ledger (writer, segment_no, site_id, usage_day, accepted, duplicate, rejected, withheld, bots)
values (%(writer)s, %(segment_no)s, %(site)s, %(day)s,
        %(accepted)s, %(duplicate)s, %(rejected)s, %(withheld)s, %(bots)s)
"""


class Ledger:
    """The loads and the usage of one database."""

    def __init__(self, url: str) -> None:
        """Nothing was loaded, unless somebody did."""
        self.url = url

    def add(self, site: str, day: str, accepted: int, **others: int) -> None:
        """Load a segment of one site; `others` are duplicate, rejected, withheld and bots."""
        with psycopg.connect(self.url) as connection:
            load(
                connection,
                datetime.combine(date.fromisoformat(day), time(12), UTC),
                {site: others | {"accepted": accepted}},
            )

    def report(self, config: Config, month: Month, by: Group = "site") -> dict[str, Any]:
        """The report of a month."""
        with pg.connect(self.url, name="test") as connection:
            return report(connection, config, month, by)

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Ask the database."""
        with psycopg.connect(self.url, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        """`evothesis usage` on this database."""
        return self._run(arguments, environment, subprocess.PIPE)

    def on_terminal(self, terminal: int, *arguments: str, **environment: str) -> None:
        """The same; it prints to this terminal."""
        self._run(arguments, environment, terminal)

    def _run(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: int
    ) -> subprocess.CompletedProcess[bytes]:
        ours = {"EVOTHESIS_DATABASE_URL": self.url, "EVOTHESIS_INSTANCE": "acme", "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-m", "evothesis", "usage", *arguments]
        variables = {**os.environ, **ours, **environment}
        return subprocess.run(line, env=variables, stdout=output, stderr=subprocess.PIPE, check=False)

    def printed(self, *arguments: str, **environment: str) -> str:
        """What the command prints when all is well; nothing else may be in its way."""
        done = self.command(*arguments, **environment)
        assert (0, b"") == (done.returncode, done.stderr)
        return done.stdout.decode()  # text mode would hide how lines end


def load(
    connection: psycopg.Connection[Any], at: datetime, sites: Mapping[str, Mapping[str, int]], writer: int = 1
) -> None:
    """Load the writer's next segment, which was received at that time, in one transaction."""
    with connection.transaction():
        name = {"writer": writer}
        row = connection.execute(ADVANCE, name).fetchone()
        assert row
        name["segment_no"] = row["next_segment_no"] if isinstance(row, dict) else row[0]
        whole = {site: dict.fromkeys(COUNTED, 0) | dict(counts) for site, counts in sites.items()}
        totals = {count: sum(counts[count] for counts in whole.values()) for count in COUNTED}
        connection.execute(LOAD, name | totals | {"hour": at.replace(minute=0, second=0, microsecond=0)})
        for site, counts in whole.items():
            connection.execute(ENTRY, name | counts | {"site": site, "day": at.astimezone(UTC).date()})
        connection.execute(MOVE, name)

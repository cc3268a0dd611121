"""Usage: how long a month's report takes with 300 million events of 2,000 sites in the ledger, and how long its close.

The ledger is filled with loads as a quiet appliance makes them: each has a few events of a few sites, so that there are
nearly as many rows as events. How long a report takes depends on sites and days, not on the number of rows; fewer loads
than such a month has, each of more events, are filled in by default. The last loads are the worst case: one less than
a whole block, and every one has every site.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks import report
from benchmarks.report import say
from benchmarks.systems import Database
from evothesis import pg
from evothesis.config import Config
from evothesis.usage.close import close
from evothesis.usage.meter import Group, Month, counts
from evothesis.usage.report import priced

MONTH = Month(2026, 11)
DAYS = 30
EVENTS = 300_000_000
WRITER = 1
BLOCK = 16
BAR_MILLISECONDS = 150

FILL = """
with load as (
  insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                     accepted, duplicate, rejected, withheld, damaged, bytes)
  select %(writer)s, n, '', at, at, at, 0, 0, 0, 0, 0, 0
    from generate_series(%(first)s::bigint, %(last)s::bigint) as n
   cross join lateral (
           select date_trunc('hour', %(begin)s::timestamptz + n * %(seconds)s * interval '1 second') as at
         ) moment
  returning segment_no, hour
)
insert into usage_ledger (writer, segment_no, site_id, usage_day, accepted, bots, bytes)
-- another stride for each load, prime to any number of sites that is asked for, spreads them
select %(writer)s, segment_no, 'site-' || ((segment_no * 7919 + part) %% %(sites)s) || '.example.com', hour::date,
       %(events)s, %(events)s / 10, %(events)s * 900
  from load, generate_series(1, %(parts)s) as part
"""
SUM = "update writers set next_segment_no = next_segment_no + 16 where writer = %(writer)s"
TAIL = "update writers set next_segment_no = next_segment_no + 15 where writer = %(writer)s"
LEDGER = """
select site_id, sum(accepted) as accepted from usage_ledger
 where usage_day >= '2026-11-01' and usage_day < '2026-12-01' group by site_id
"""


def fill(connection: pg.Connection, *, loads: int, sites: int, parts: int) -> float:
    """Fill the month; returns the microseconds that a load's part of the sums takes."""
    connection.execute("insert into writers (writer) values (%(writer)s)", {"writer": WRITER})
    blocks = loads // BLOCK
    begin = datetime(MONTH.year, MONTH.number, 1, tzinfo=UTC)
    known = {"writer": WRITER, "begin": begin, "sites": sites, "seconds": DAYS * 86_400 / (blocks * BLOCK + BLOCK)}
    spent = 0.0
    events = max(1, EVENTS // (loads * parts))
    for block in range(blocks):
        first = block * BLOCK
        part = {"first": first, "last": first + BLOCK - 1, "parts": parts, "events": events}
        connection.execute(FILL, known | part)
        began = time.monotonic()
        connection.execute(SUM, known)
        spent += time.monotonic() - began
        if block % 1_000 == 0:
            say(f"{block:,} of {blocks:,} blocks")
    with connection.transaction():
        last = blocks * BLOCK + BLOCK - 2
        connection.execute(FILL, known | {"first": blocks * BLOCK, "last": last, "parts": sites, "events": 1})
        connection.execute(TAIL, known)
    connection.execute("vacuum analyze")
    return spent / (blocks * BLOCK) * 1e6


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return (time.monotonic() - began) * 1_000


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("usage", __doc__)
    parser.add_argument("--loads", type=int, default=200_000, help="in the month (%(default)s)")
    parser.add_argument("--sites", type=int, default=2_000, help="(%(default)s)")
    parser.add_argument("--sites-per-load", type=int, default=28, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="of each question (%(default)s)")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    database = Database(arguments.folder)
    database.start()
    tariff = Config().usage
    try:
        with pg.connect(database.dsn, name="usage") as connection:
            sums = fill(connection, loads=arguments.loads, sites=arguments.sites, parts=arguments.sites_per_load)
            rows = pg.one(connection, "select count(*) as rows, sum(accepted)::bigint as events from usage_ledger")

            def ask(by: Group) -> None:
                priced(counts(connection, MONTH, by), tariff, by)

            def ask_sites() -> None:
                ask("site")

            def ask_days() -> None:
                ask("day")

            found = {
                "report by site": [milliseconds(ask_sites) for _ in range(arguments.rounds)],
                "report by day": [milliseconds(ask_days) for _ in range(arguments.rounds)],
                "the ledger alone, by site": [
                    milliseconds(lambda: connection.execute(LEDGER).fetchall()) for _ in "123"
                ],
                "close": [
                    milliseconds(
                        lambda: close(connection, Config(), MONTH, now=MONTH.end + timedelta(days=1), actor="benchmark")
                    )
                ],
            }
    finally:
        database.stop()
    shutil.rmtree(arguments.folder)
    lines = []
    for name, times in found.items():
        spread = report.spread(times)
        bar = f"< {BAR_MILLISECONDS}" if name.startswith("report") else ""
        lines.append([name, spread["median"], spread["min"], spread["max"], bar])
    sizes = [
        ["events in the month", rows["events"]],
        ["rows of the ledger", rows["rows"]],
        ["sites", arguments.sites],
        ["µs that sums cost a load", round(sums)],
    ]
    tables = [report.table(["ms", "median", "min", "max", "bar"], lines), report.table(["ledger", "number"], sizes)]
    report.finish(arguments.json, {"milliseconds": found, "rows": rows, "sums_microseconds": sums}, tables)


if __name__ == "__main__":
    report.run(main)

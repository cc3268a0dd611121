"""Stored: the database in, findings out: its settings, its schema, its books, its growth, its backups."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from evothesis import migrate, pg
from evothesis.config import Config
from evothesis.upkeep.finding import Finding, act, note, ok

VERSION_MIN = 140_000
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
CLOCK_SECONDS_MAX = 2
BACKUP_HOURS_MAX = 50  # a daily one that failed once is a note in the log; twice is an alarm
DRILL_DAYS_MAX = 40

SERVER = """
select current_setting('server_version_num')::int as version, current_setting('server_version') as version_text,
       current_setting('server_encoding') as encoding, current_setting('data_checksums') as checksums,
       pg_database_size(current_database()) as size_bytes,
       abs(extract(epoch from clock_timestamp()) - %(now)s::float8) as clock_seconds
"""
SETTINGS = """
-- synchronous_commit is what each of our connections asks for, and gets
select name, setting as value from pg_settings where name = any(%(names)s) and setting <> 'on'
"""
BOOKS = """
-- of each load since yesterday its own counts, of each writer its position: the whole ledger may have a billion rows
with since as (
  select date_trunc('day', now() at time zone 'UTC') - interval '1 day' as day
), recent as not materialized (
  select * from loads where hour >= (select day at time zone 'UTC' from since)
)
select (select count(*) from recent) as loads,
       (select count(*) from recent l left join (
          select writer, segment_no, sum(accepted) as accepted, sum(duplicate) as duplicate
            from usage_ledger where usage_day >= (select day::date from since) group by 1, 2
        ) u using (writer, segment_no)
        where (l.accepted, l.duplicate) <> (coalesce(u.accepted, 0), coalesce(u.duplicate, 0))) as unequal,
       (select count(*) from writers w
         where w.next_segment_no <> (select coalesce(max(l.segment_no) + 1, 0) from loads l where l.writer = w.writer))
         as misplaced
"""
AUDIT = """
select count(*) as entries, (select min(audit_id) from audit_problems) as first_wrong,
       (select count(*) from audit_problems) as wrong
  from audit_log
"""
GROWTH = """
-- what the last whole days take, with their indexes
select count(*) as days, coalesce(sum(pg_total_relation_size(oid)), 0)::bigint as bytes
  from pg_class
 where relkind = 'r' and relname in (
   select 'events_log_' || to_char((now() at time zone 'UTC')::date - back, 'YYYYMMDD')
     from generate_series(1, 7) back)
"""
PLACE = "select setting from pg_settings where name = 'data_directory'"
DAYS = "select count(*) as days from pg_class where relkind = 'r' and relname ~ '^events_log_[0-9]{8}$'"
LAST = """
select backup, now() - backup as backup_age, drill, now() - drill as drill_age
  from (
    select max(at) filter (where action = 'backup') as backup, max(at) filter (where action = 'restore drill') as drill
      from audit_log
  ) last
"""


def server(connection: pg.Connection, now: float) -> Iterator[Finding]:
    """Its version and what our promise rests on; `now` is our clock's Unix time."""
    row = pg.one(connection, SERVER, {"now": now})
    name = f"PostgreSQL {row['version_text']}, {row['size_bytes'] / 2**20:,.0f} MiB"
    if row["version"] < VERSION_MIN:
        yield act("database", name, "upgrade it to 14 or newer")
    elif row["encoding"] != "UTF8":
        yield act("database", f"{name}, its encoding is {row['encoding']}", "make it anew with the encoding UTF8")
    else:
        yield ok("database", name)
    off = connection.execute(SETTINGS, {"names": list(DURABLE)}).fetchall()
    for setting in off:
        yield act(
            "durability",
            f"{setting['name']} is {setting['value']}: what was acknowledged may be lost",
            f"alter system set {setting['name']} = on; then reload PostgreSQL",
        )
    if not off:
        yield ok("durability", f"{', '.join(DURABLE)} are on")
    if row["checksums"] != "on":
        yield note("checksums", "PostgreSQL does not notice pages that its disk has damaged", "see pg_checksums(1)")
    if row["clock_seconds"] > CLOCK_SECONDS_MAX:
        found = f"ours and the database's differ by {row['clock_seconds']:.0f} s"
        yield act("clock", found, "keep both right: apt-get install chrony")


def schema(connection: pg.Connection) -> Finding:
    """Whether it is the one that this version works with."""
    waiting = migrate.pending(connection)
    if waiting:
        return act(
            "schema", f"{len(waiting)} migrations are pending, from {waiting[0].name}", "run `evothesis migrate`"
        )
    return ok("schema", f"all {len(migrate.find())} migrations are applied")


def books(connection: pg.Connection) -> Finding:
    """Whether loads since yesterday, positions and the ledger say the same."""
    row = pg.one(connection, BOOKS)
    if row["unequal"] or row["misplaced"]:
        found = f"{row['unequal']} loads are billed otherwise than loaded, {row['misplaced']} writers stand elsewhere"
        return act("books", found, "nobody else may write to these tables; restore a backup, and report it")
    return ok("books", f"{row['loads']:,} loads since yesterday, each billed as it was loaded")


def audit(connection: pg.Connection) -> Finding:
    """Whether each entry of the audit log is what it was when the next one was written."""
    row = pg.one(connection, AUDIT)
    if row["wrong"]:
        found = f"{row['wrong']} entries are not what they were, from number {row['first_wrong']} on"
        return act("audit", found, "compare audit_log with a backup: somebody changed it, or took entries away")
    return ok("audit", f"{row['entries']:,} entries, each as it was written")


def growth(connection: pg.Connection, config: Config) -> Iterator[Finding]:
    """Whether the disk lasts until retention begins to drop days; where the database lies on this machine."""
    place = connection.execute(PLACE).fetchone()  # told to superusers and members of pg_read_all_settings
    if not place or not connection.info.host.startswith("/") or not os.access(place["setting"], os.F_OK):
        return
    grown = pg.one(connection, GROWTH)
    if not grown["days"]:
        yield note("forecast", "there is no whole day yet to judge by")
        return
    a_day = grown["bytes"] / grown["days"]
    days = config.database.retention_days - pg.one(connection, DAYS)["days"]
    yield forecast(a_day, days, shutil.disk_usage(place["setting"]).free)


def forecast(a_day: float, days: int, free: float) -> Finding:
    """`days` more days come before the oldest is dropped; each takes `a_day` bytes of the `free` ones."""
    found = f"{a_day / 2**20:,.1f} MiB a day"
    if days > 0 and a_day * days > free:
        found += f": the disk is full in {free / a_day:,.0f} days, before old days are dropped in {days}"
        return act("forecast", found, "a larger disk, or fewer database.retention_days")
    return ok("forecast", f"{found}; the disk lasts until old days are dropped")


def backups(connection: pg.Connection) -> Iterator[Finding]:
    """How old the last backup is, and the last proof that one can be restored."""
    row = pg.one(connection, LAST)
    if row["backup"] is None:
        yield act("backup", "there is none", "run `evothesis backup`, daily by its timer")
    elif row["backup_age"] > timedelta(hours=BACKUP_HOURS_MAX):
        yield act(
            "backup", f"the last one is of {_moment(row['backup'])}", "run `evothesis backup`, and see why it failed"
        )
    else:
        yield ok("backup", f"the last one is of {_moment(row['backup'])}")
    if row["drill"] is None:
        yield note("drill", "no backup was ever restored to see whether it can be", "run `evothesis restore --drill`")
    elif row["drill_age"] > timedelta(days=DRILL_DAYS_MAX):
        yield act("drill", f"the last one was on {_moment(row['drill'])}", "run `evothesis restore --drill`")
    else:
        yield ok("drill", f"the last one was on {_moment(row['drill'])}")


def _moment(moment: Any) -> str:  # noqa: ANN401 - what the database has
    return f"{moment:%Y-%m-%d %H:%M} UTC"

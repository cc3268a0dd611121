"""Content: a database in, what it holds as numbers out, to be compared with those of another one."""

from __future__ import annotations

from psycopg import sql

from evothesis import pg

TABLES = """
-- tables with what their partitions hold; a partition is none of its own
select relname as name from pg_class
 where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by relname
"""
LOADS = "select encode(sha256(string_agg(sha256, '' order by writer, segment_no)), 'hex') as digest from loads"
SCHEMA = "select max(version) as version from schema_migrations"
UNEQUAL = """
-- of all loads: what was accepted is stored or was removed, is billed, and each writer stands behind its last one
select (select coalesce(sum(accepted), 0) from loads)::bigint as accepted,
       ((select count(*) from events_log) + (select coalesce(sum(events), 0) from removed))::bigint as stored,
       (select coalesce(sum(accepted), 0) from usage_ledger)::bigint as billed,
       (select count(*) from writers w
         where w.next_segment_no <> (select coalesce(max(l.segment_no) + 1, 0) from loads l where l.writer = w.writer))
         as misplaced
"""


def rows(connection: pg.Connection) -> dict[str, int]:
    """How many rows each table has."""
    names = [row["name"] for row in connection.execute(TABLES).fetchall()]
    counts = (
        (name, pg.one(connection, sql.SQL("select count(*) as rows from {}").format(sql.Identifier("public", name))))
        for name in names
    )
    return {name: count["rows"] for name, count in counts}


def loads_sha256(connection: pg.Connection) -> str | None:
    """The digest of all segments that were ever loaded; None when there was none."""
    digest = pg.one(connection, LOADS)["digest"]
    return str(digest) if digest else None


def schema(connection: pg.Connection) -> int:
    """The number of the last migration."""
    return int(pg.one(connection, SCHEMA)["version"])


def problems(connection: pg.Connection) -> list[str]:
    """What does not fit together, a sentence each. It reads all events."""
    found = pg.one(connection, UNEQUAL)
    sums = {name: found[name] for name in ("accepted", "stored", "billed")}
    unequal = [f"events {', '.join(f'{name} {count:,}' for name, count in sums.items())}: these are not equal"]
    misplaced = [f"{found['misplaced']} writers do not stand behind their last load"]
    return (unequal if len(set(sums.values())) > 1 else []) + (misplaced if found["misplaced"] else [])

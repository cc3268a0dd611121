"""Lock: by which an export has the ledger for itself, and others can tell that one runs."""

from __future__ import annotations

from evothesis import pg

LOCK = 0x65766F657870  # "evoexp": any number that nothing else here locks

HELD = """
-- how PostgreSQL shows a lock of 64 bits: https://www.postgresql.org/docs/current/view-pg-locks.html
select exists (
  select from pg_locks
   where locktype = 'advisory' and granted and objsubid = 1
     and database = (select oid from pg_database where datname = current_database())
     and classid = (%(lock)s::bigint >> 32)::oid and objid = (%(lock)s::bigint & 4294967295)::oid) as is_held
"""


def is_running(connection: pg.Connection) -> bool:
    """Whether some process exports from this database now."""
    return bool(pg.one(connection, HELD, {"lock": LOCK})["is_held"])

"""Dedup: the keys of a segment's events in, the events that are new out; within the load's transaction.

A retry carries the id and the content of the first attempt: it is a duplicate. The same id with other content is
another event: it is kept and flagged, under a key made of both. Keys are remembered by day for the dedup window.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

import psycopg
from psycopg import sql

from evothesis import pg
from evothesis.event import Row

log = logging.getLogger(__name__)

WINDOW_DAYS = 3  # a retry is recognised for 72 hours at least
WINDOW = timedelta(days=WINDOW_DAYS)

OLDEST = """
select c.relname as name
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'dedup_keys'::regclass and c.relname < %(before)s
 order by c.relname limit 1
"""

# Both sides of the segment's day: a retry may be loaded before an original that waited in another folder. Written as
# two stretches, because the planner does not leave out a partition for "<>".
OTHER_DAYS = "(d.day between %(day)s - {window} and %(day)s - 1 or d.day between %(day)s + 1 and %(day)s + {window})"

RANGES = f"""
-- a UUIDv7 begins with its time: a few ranges hold all keys of live traffic, and mostly no key of another day
select b.n::integer as n
  from unnest(%(lows)s::uuid[], %(highs)s::uuid[]) with ordinality as b (low, high, n)
 cross join lateral (
   select from dedup_keys d where d.key between b.low and b.high and {OTHER_DAYS} limit 1
 ) hit
"""  # noqa: S608 - put together from constants

ELSEWHERE = f"""
select d.key::text as key from dedup_keys d where d.key = any(%(keys)s::uuid[]) and {OTHER_DAYS}
"""  # noqa: S608 - put together from constants

# idx is stored so that "returning" can name the rows that won, also against others of the same statement
INSERT = """
with fresh as (
  insert into {partition} (day, key, fingerprint, idx)
  select %(day)s, * from unnest(%(keys)s::uuid[], %(fingerprints)s::bigint[], %(idxs)s::integer[])
  on conflict do nothing
  returning idx
)
select count(*) as fresh, case when count(*) < %(candidates)s then array_agg(idx) end as idxs from fresh
"""

STORED = """
select key::text as key, array_agg(fingerprint) as fingerprints
  from dedup_keys
 where key = any(%(keys)s::uuid[]) and day between %(day)s - {window} and %(day)s + {window}
 group by key
"""


Candidate = tuple[str, int, int]  # an event's id as 32 hexadecimal digits, the row's number, the fingerprint


class Verdict(NamedTuple):
    """Numbers of rows: new ones, and new ones whose id another event has."""

    fresh: set[int]
    reused: set[int]


def judge(
    connection: pg.Connection, rows: list[tuple[int, Row]], day: date, *, expects_duplicates: bool = True
) -> Verdict:
    """Remember the new ones under `day`; what is in neither set of the answer is a duplicate.

    A segment without duplicates is remembered in half the time, one with them in one and a half when none was expected.
    """
    # neighbours in the index are inserted one after another
    candidates = sorted([(row.key, idx, row.fingerprint) for idx, row in rows])
    elsewhere = _elsewhere(connection, [key for key, _, _ in candidates], day)
    if not (elsewhere or expects_duplicates) and _copy(connection, candidates, day):
        return Verdict({idx for idx, _ in rows}, set())
    here = [candidate for candidate in candidates if candidate[0] not in elsewhere] if elsewhere else candidates
    fresh = _insert(connection, here, day)
    if len(fresh) == len(candidates):
        return Verdict(fresh, set())
    others = [candidate for candidate in candidates if candidate[1] not in fresh]
    query = sql.SQL(STORED).format(window=sql.Literal(WINDOW_DAYS))
    found = connection.execute(query, {"keys": _array(key for key, _, _ in others), "day": day}).fetchall()
    stored = {row["key"].replace("-", ""): row["fingerprints"] for row in found}
    different = [
        (_key_of_both(key, fingerprint), idx, fingerprint)
        for key, idx, fingerprint in others
        if fingerprint not in stored[key]
    ]
    known = _elsewhere(connection, [key for key, _, _ in different], day) if different else set()
    reused = _insert(connection, [candidate for candidate in different if candidate[0] not in known], day)
    return Verdict(fresh, reused)


def _elsewhere(connection: pg.Connection, keys: list[str], day: date) -> set[str]:
    """Which of the keys another day of the window has."""
    window = sql.Literal(WINDOW_DAYS)
    ranges = _ranges(keys)
    if len(ranges) < len(keys) / 8:  # else they are random: each is looked up by itself
        query = sql.SQL(RANGES).format(window=window)
        lows, highs = (_array(f"{part[end]:08x}" + fill * 24 for part in ranges) for end, fill in ((0, "0"), (1, "f")))
        hits = connection.execute(query, {"lows": lows, "highs": highs, "day": day}).fetchall()
        hit = [ranges[row["n"] - 1] for row in hits]
        keys = [key for key in keys if any(low <= int(key[:8], 16) <= high for low, high in hit)] if hit else []
    if not keys:
        return set()
    rows = connection.execute(sql.SQL(ELSEWHERE).format(window=window), {"keys": _array(keys), "day": day}).fetchall()
    return {row["key"].replace("-", "") for row in rows}


def _ranges(keys: list[str]) -> list[tuple[int, int]]:
    """The stretches that keys cover, in units of their first 32 bits: about a minute of a UUIDv7's time."""
    ranges: list[tuple[int, int]] = []
    for prefix in sorted({key[:8] for key in keys}):
        number = int(prefix, 16)
        if ranges and number - ranges[-1][1] <= 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def forget(connection: pg.Connection, today: date) -> None:
    """Drop the oldest day of keys, if no retry can reach it any more, however late it is loaded.

    A segment that waited in the spool is judged by its own day: one more window is kept for it. One day at a time: a
    clock that is far ahead for a while must not take away the keys of retries that still come.
    """
    for row in connection.execute(OLDEST, {"before": f"dedup_keys_{today - 2 * WINDOW:%Y%m%d}"}).fetchall():
        connection.execute(sql.SQL("drop table {}").format(sql.Identifier(row["name"])))
        log.info("Old keys dropped.", extra={"partition": row["name"]})


def _copy(connection: pg.Connection, candidates: list[Candidate], day: date) -> bool:
    """Remember keys that nobody has; False, with nothing remembered, when one of them has an owner."""
    into = sql.SQL("copy {} (day, key, fingerprint, idx) from stdin").format(_partition(day))
    lines = "".join([f"{day}\t{key}\t{fingerprint}\t{idx}\n" for key, idx, fingerprint in candidates])
    try:
        with connection.transaction(), connection.cursor() as cursor, cursor.copy(into) as copy:  # a savepoint
            copy.write(lines)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def _insert(connection: pg.Connection, candidates: list[Candidate], day: date) -> set[int]:
    """Remember keys; returns the numbers of the rows that own theirs now."""
    if not candidates:
        return set()
    parameters = {
        "keys": _array(key for key, _, _ in candidates),
        "fingerprints": _array(fingerprint for _, _, fingerprint in candidates),
        "idxs": _array(idx for _, idx, _ in candidates),
        "day": day,
        "candidates": len(candidates),
    }
    row = connection.execute(sql.SQL(INSERT).format(partition=_partition(day)), parameters).fetchone()
    if row is None or row["fresh"] == len(candidates):
        return {idx for _, idx, _ in candidates}
    return set(row["idxs"] or ())


def _partition(day: date) -> sql.Identifier:
    return sql.Identifier(f"dedup_keys_{day:%Y%m%d}")


def _array(values: Iterable[object]) -> str:
    # one text that the server splits: five times less work here than an array of adapted objects
    return "{" + ",".join(map(str, values)) + "}"


def _key_of_both(key: str, fingerprint: int) -> str:
    return hashlib.sha256(f"{key} {fingerprint}".encode()).hexdigest()[:32]

"""Dedup: the keys of a segment's events in, the events that are new out; within the load's transaction.

A retry carries the id and the content of the first attempt: it is a duplicate. The same id with other content is
another event: it is kept and flagged, under a key made of both. Keys are remembered by day for the dedup window.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from datetime import date, timedelta
from operator import attrgetter
from typing import NamedTuple

from psycopg import sql

from evothesis import pg

log = logging.getLogger(__name__)

WINDOW_DAYS = 3  # a retry is recognised for 72 hours at least
WINDOW = timedelta(days=WINDOW_DAYS)

PARTITIONS = """
select c.relname as name
  from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'dedup_keys'::regclass and c.relname < %(before)s
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


class Candidate(NamedTuple):
    """An event that may have been stored before."""

    idx: int
    key: str  # 32 hexadecimal digits
    fingerprint: int


class Verdict(NamedTuple):
    """Numbers of rows: new ones, and new ones whose id another event has."""

    fresh: set[int]
    reused: set[int]


def judge(connection: pg.Connection, candidates: list[Candidate], day: date) -> Verdict:
    """Remember the new ones under `day`; what is in neither set of the answer is a duplicate."""
    # neighbours in the index are inserted one after another
    candidates = sorted(candidates, key=attrgetter("key"))
    elsewhere = _elsewhere(connection, [candidate.key for candidate in candidates], day)
    here = [candidate for candidate in candidates if candidate.key not in elsewhere] if elsewhere else candidates
    fresh = _insert(connection, here, day)
    if len(fresh) == len(candidates):
        return Verdict(fresh, set())
    others = [candidate for candidate in candidates if candidate.idx not in fresh]
    query = sql.SQL(STORED).format(window=sql.Literal(WINDOW_DAYS))
    rows = connection.execute(query, {"keys": _array(candidate.key for candidate in others), "day": day}).fetchall()
    stored = {row["key"].replace("-", ""): row["fingerprints"] for row in rows}
    different = [
        candidate._replace(key=_key_of_both(candidate))
        for candidate in others
        if candidate.fingerprint not in stored[candidate.key]
    ]
    known = _elsewhere(connection, [candidate.key for candidate in different], day) if different else set()
    reused = _insert(connection, [candidate for candidate in different if candidate.key not in known], day)
    return Verdict(fresh, reused)


def _elsewhere(connection: pg.Connection, keys: list[str], day: date) -> set[str]:
    """Which of the keys, given in order, another day of the window has."""
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
    """The stretches that sorted keys cover, in units of their first 32 bits: about a minute of a UUIDv7's time."""
    ranges: list[tuple[int, int]] = []
    for prefix in sorted({int(key[:8], 16) for key in keys}):
        if ranges and prefix - ranges[-1][1] <= 1:
            ranges[-1] = (ranges[-1][0], prefix)
        else:
            ranges.append((prefix, prefix))
    return ranges


def forget(connection: pg.Connection, today: date) -> None:
    """Drop the days of keys that no retry can reach any more, however late it is loaded.

    A segment that waited in the spool is judged by its own day: one more window is kept for it.
    """
    for row in connection.execute(PARTITIONS, {"before": f"dedup_keys_{today - 2 * WINDOW:%Y%m%d}"}).fetchall():
        connection.execute(sql.SQL("drop table {}").format(sql.Identifier(row["name"])))
        log.info("Old keys dropped.", extra={"partition": row["name"]})


def _insert(connection: pg.Connection, candidates: list[Candidate], day: date) -> set[int]:
    if not candidates:
        return set()
    query = sql.SQL(INSERT).format(partition=sql.Identifier(f"dedup_keys_{day:%Y%m%d}"))
    parameters = {
        "keys": _array(candidate.key for candidate in candidates),
        "fingerprints": _array(candidate.fingerprint for candidate in candidates),
        "idxs": _array(candidate.idx for candidate in candidates),
        "day": day,
        "candidates": len(candidates),
    }
    row = connection.execute(query, parameters).fetchone()
    if row is None or row["fresh"] == len(candidates):
        return {candidate.idx for candidate in candidates}
    return set(row["idxs"] or ())


def _array(values: Iterable[object]) -> str:
    # one text that the server splits: five times less work here than an array of adapted objects
    return "{" + ",".join(map(str, values)) + "}"


def _key_of_both(candidate: Candidate) -> str:
    return hashlib.sha256(f"{candidate.key} {candidate.fingerprint}".encode()).hexdigest()[:32]

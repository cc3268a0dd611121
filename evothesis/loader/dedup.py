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

# Days after the segment's own count too: a retry may be loaded before an original that waited in another folder.
# idx is stored so that "returning" can name the rows that won, also against others of the same statement
INSERT = """
with candidate as (
  select * from unnest(%(keys)s::uuid[], %(fingerprints)s::bigint[], %(idxs)s::integer[]) as c (key, fingerprint, idx)
), fresh as (
  insert into {partition} (day, key, fingerprint, idx)
  select %(day)s, key, fingerprint, idx
    from candidate c
   where not exists (
     select from dedup_keys d
      where d.key = c.key and d.day between %(day)s - {window} and %(day)s + {window} and d.day <> %(day)s
   )
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
    fresh = _insert(connection, candidates, day)
    others = [candidate for candidate in candidates if candidate.idx not in fresh]
    if not others:
        return Verdict(fresh, set())
    query = sql.SQL(STORED).format(window=sql.Literal(WINDOW_DAYS))
    rows = connection.execute(query, {"keys": _array(candidate.key for candidate in others), "day": day}).fetchall()
    stored = {row["key"].replace("-", ""): row["fingerprints"] for row in rows}
    different = [
        candidate._replace(key=_key_of_both(candidate))
        for candidate in others
        if candidate.fingerprint not in stored[candidate.key]
    ]
    return Verdict(fresh, _insert(connection, different, day) if different else set())


def forget(connection: pg.Connection, today: date) -> None:
    """Drop the days of keys that no retry can reach any more, however late it is loaded.

    A segment that waited in the spool is judged by its own day: one more window is kept for it.
    """
    for row in connection.execute(PARTITIONS, {"before": f"dedup_keys_{today - 2 * WINDOW:%Y%m%d}"}).fetchall():
        connection.execute(sql.SQL("drop table {}").format(sql.Identifier(row["name"])))
        log.info("Old keys dropped.", extra={"partition": row["name"]})


def _insert(connection: pg.Connection, candidates: list[Candidate], day: date) -> set[int]:
    partition = sql.Identifier(f"dedup_keys_{day:%Y%m%d}")
    query = sql.SQL(INSERT).format(partition=partition, window=sql.Literal(WINDOW_DAYS))
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

"""Load: one sealed segment in, one transaction out.

Its rows, its keys, its `loads` row, its usage and the new position are committed together, so that they cannot
disagree, and a segment that was loaded cannot be loaded again.
"""

from __future__ import annotations

from evothesis import pg
from evothesis.errors import LoadError
from evothesis.loader.content import Content
from evothesis.loader.dedup import Verdict, judge
from evothesis.loader.discover import discover
from evothesis.loader.fit import fitted
from evothesis.loader.store import store
from evothesis.loader.tally import Tally, tally
from evothesis.loader.types import count_types
from evothesis.spool.segments import Segment

POSITION = """
-- a writer's segments resemble each other: what the last one held is expected of the next
select w.next_segment_no,
       coalesce((select l.duplicate > 0 from loads l
                  where l.writer = w.writer and l.segment_no = w.next_segment_no - 1), false) as had_duplicates
  from writers w where w.writer = %(writer)s for update of w
"""
BEFORE = "select sha256 from loads where writer = %(writer)s and segment_no = %(segment_no)s"
ADOPT = "insert into writers (writer) values (%(writer)s) on conflict do nothing"
ADVANCE = """
-- compare and set, though the row is locked since it was read: a position never moves past what is not stored
update writers set next_segment_no = %(segment_no)s + 1 where writer = %(writer)s and next_segment_no = %(segment_no)s
returning next_segment_no
"""
LOADED = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes)
values (%(writer)s, %(segment_no)s, %(sha256)s, %(hour)s, %(first)s, %(last)s,
        %(accepted)s, %(duplicate)s, %(rejected)s, %(withheld)s, %(damaged)s, %(bytes)s)
"""
USAGE = """
insert into usage_ledger (writer, segment_no, usage_day, site_id, accepted, duplicate, rejected, withheld, bots, bytes)
select %(writer)s, %(segment_no)s, %(day)s, *
  from unnest(%(sites)s::text[], %(accepted)s::int[], %(duplicate)s::int[], %(rejected)s::int[], %(withheld)s::int[],
              %(bots)s::int[], %(bytes)s::bigint[])
"""


def load(
    connection: pg.Connection, segment: Segment, content: Content, *, careful: bool = False
) -> dict[str, int] | None:
    """Store a segment; what was counted of it, None when it was stored before. The partitions of its day must exist.

    `careful` finds rows that the database cannot hold and puts them into `rejected_events`, in the same transaction.
    Raises LoadError when segments before it are missing, psycopg.Error when the database refuses.
    """
    if careful:
        content = fitted(content)
    with connection.transaction():
        name = {"writer": segment.writer, "segment_no": segment.segment_no}
        position = connection.execute(POSITION, name).fetchone()
        if position is None:
            connection.execute(ADOPT, name)
            position = pg.one(connection, POSITION, name)
        if segment.segment_no < position["next_segment_no"]:
            before = connection.execute(BEFORE, name).fetchone()
            if before is None or before["sha256"] != content.sha256:
                message = f"segment {segment.segment_no} of writer {segment.writer} was given up, or had other content"
                raise LoadError(message, hint="its folder was emptied or brought back: rename it to another number")
            return None
        if segment.segment_no > position["next_segment_no"]:
            message = f"segment {position['next_segment_no']} of writer {segment.writer} is missing from the spool"
            hint = "bring the file back from a backup of the spool, or give it up on record: `evothesis accept-loss`"
            raise LoadError(message, hint=hint)
        verdict = (
            judge(connection, content.rows, content.day, expects_duplicates=position["had_duplicates"])
            if content.rows
            else Verdict(set(), set())
        )
        refused = store(connection, segment, content, verdict, careful=careful)
        totals = _count(connection, segment, content, verdict, refused)
        pg.one(connection, ADVANCE, name)
    return totals


def _count(
    connection: pg.Connection, segment: Segment, content: Content, verdict: Verdict, refused: frozenset[int]
) -> dict[str, int]:
    name = {"writer": segment.writer, "segment_no": segment.segment_no}
    hour = content.first.replace(minute=0, second=0, microsecond=0)
    tallies = tally(content, verdict, refused)
    sites, counted = list(tallies), list(tallies.values())
    totals = {field: sum(getattr(part, field) for part in counted) for field in Tally.FIELDS}
    connection.execute(
        LOADED,
        name
        | totals
        | {
            "sha256": content.sha256,
            "hour": hour,
            "first": content.first,
            "last": content.last,
            "damaged": len(content.damage),
        },
    )
    if counted:
        columns = {field: [getattr(part, field) for part in counted] for field in Tally.FIELDS}
        discover(connection, sites, content.first)
        connection.execute(USAGE, name | columns | {"day": content.day, "sites": sites})
        count_types(connection, hour, tallies)
    return totals

"""Load: one sealed segment in, one transaction out.

Its rows, its keys, its `loads` row, its usage and the new position are committed together, so that they cannot
disagree, and a segment that was loaded cannot be loaded again.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import NamedTuple

from psycopg import sql

from evothesis import pg
from evothesis.errors import LoadError
from evothesis.event import COLUMNS, REJECTED_COLUMNS, Entry, Rejected, Row, decode_entry
from evothesis.loader.dedup import Candidate, Verdict, judge
from evothesis.spool.frame import Damage, Frame, decode
from evothesis.spool.segments import Segment

log = logging.getLogger(__name__)

SITE_UNKNOWN = "(unknown)"  # of refused events that name no site

POSITION = "select next_segment_no from writers where writer = %(writer)s for update"
ADOPT = "insert into writers (writer) values (%(writer)s) on conflict do nothing"
ADVANCE = """
-- compare and set: of two loaders that hold the same segment one fails here
update writers set next_segment_no = %(segment_no)s + 1 where writer = %(writer)s and next_segment_no = %(segment_no)s
"""
LOADED = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes)
values (%(writer)s, %(segment_no)s, %(sha256)s, %(hour)s, %(first)s, %(last)s,
        %(accepted)s, %(duplicate)s, %(rejected)s, %(withheld)s, %(damaged)s, %(bytes)s)
"""
SITES = "insert into sites (site_id) select unnest(%(sites)s::text[]) on conflict do nothing"
USAGE = """
insert into usage_ledger (writer, segment_no, usage_day, site_id, accepted, duplicate, rejected, withheld, bytes)
select %(writer)s, %(segment_no)s, %(day)s, *
  from unnest(%(sites)s::text[], %(accepted)s::int[], %(duplicate)s::int[], %(rejected)s::int[], %(withheld)s::int[],
              %(bytes)s::bigint[])
"""


class Content(NamedTuple):
    """What a segment holds, each row with its number in it."""

    sha256: bytes
    first: datetime
    last: datetime
    rows: list[tuple[int, Row]]
    rejected: list[tuple[int, Rejected]]
    withheld: dict[str, int]
    damage: list[Damage]

    @property
    def day(self) -> date:
        """The UTC day; a segment never spans two."""
        return self.first.date()


class Tally:
    """The usage of one site in one segment."""

    def __init__(self) -> None:
        """Nothing was counted yet."""
        self.accepted = self.duplicate = self.rejected = self.withheld = self.bytes = 0


def read(segment: Segment) -> Content:
    """Check and unpack a segment file. Damaged stretches are left out and named."""
    data = segment.path.read_bytes()
    parts = list(decode(data, segment_no=segment.segment_no))
    entries: list[tuple[int, Entry]] = [
        (part.first_row, decode_entry(part.payload)) for part in parts if isinstance(part, Frame)
    ]
    # a segment with no sound frame still has its number; the file's time stands in
    moments = [entry.received_at for _, entry in entries] or [datetime.fromtimestamp(segment.path.stat().st_mtime, UTC)]
    withheld: dict[str, int] = defaultdict(int)
    for _, entry in entries:
        for site, events in entry.withheld.items():
            withheld[site] += events
    return Content(
        sha256=hashlib.sha256(data).digest(),
        first=min(moments),
        last=max(moments),
        rows=[(first + n, row) for first, entry in entries for n, row in enumerate(entry.rows)],
        rejected=[
            (first + n, row) for first, entry in entries for n, row in enumerate(entry.rejected, len(entry.rows))
        ],
        withheld=withheld,
        damage=[part for part in parts if isinstance(part, Damage)],
    )


def load(connection: pg.Connection, segment: Segment, content: Content) -> bool:
    """Store a segment; False when it was stored before. The partitions of its day must exist.

    Raises LoadError when segments before it are missing, psycopg.Error when the database refuses.
    """
    with connection.transaction():
        name = {"writer": segment.writer, "segment_no": segment.segment_no}
        position = connection.execute(POSITION, name).fetchone()
        if position is None:
            connection.execute(ADOPT, name)
            position = pg.one(connection, POSITION, name)
        if segment.segment_no < position["next_segment_no"]:
            return False
        if segment.segment_no > position["next_segment_no"]:
            message = f"segment {position['next_segment_no']} of writer {segment.writer} is missing from the spool"
            raise LoadError(message, hint="bring the file back; later segments of this writer wait for it")
        candidates = [Candidate(idx, row.key, row.fingerprint) for idx, row in content.rows]
        verdict = judge(connection, candidates, content.day) if candidates else Verdict(set(), set())
        _copy_rows(connection, segment, content, verdict)
        _copy_rejected(connection, segment, content)
        _count(connection, segment, content, verdict)
        if connection.execute(ADVANCE, name).rowcount != 1:
            message = f"another loader moved writer {segment.writer} past segment {segment.segment_no}"
            raise LoadError(message)
    return True


def _copy_rows(connection: pg.Connection, segment: Segment, content: Content, verdict: Verdict) -> None:
    prefix = b"%d\t%d" % (segment.writer, segment.segment_no)
    lines = [
        b"%b\t%d\t%b\t%b\n" % (prefix, idx, b"t" if idx in verdict.reused else b"f", row.line)
        for idx, row in content.rows
        if idx in verdict.fresh or idx in verdict.reused
    ]
    columns = ("writer", "segment_no", "idx", "event_id_reused", *COLUMNS)
    _copy(connection, f"events_log_{content.day:%Y%m%d}", columns, lines)


def _copy_rejected(connection: pg.Connection, segment: Segment, content: Content) -> None:
    prefix = b"%d\t%d" % (segment.writer, segment.segment_no)
    lines = [b"%b\t%d\t%b\n" % (prefix, idx, rejected.line) for idx, rejected in content.rejected]
    columns = ("writer", "segment_no", "idx", *REJECTED_COLUMNS)
    _copy(connection, f"rejected_events_{content.day:%Y%m%d}", columns, lines)


def _copy(connection: pg.Connection, partition: str, columns: tuple[str, ...], lines: list[bytes]) -> None:
    if not lines:
        return
    # the day's partition itself: a segment lies within one hour, and routing each row costs time
    query = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(partition), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.write(b"".join(lines))


def _count(connection: pg.Connection, segment: Segment, content: Content, verdict: Verdict) -> None:
    tallies: dict[str, Tally] = defaultdict(Tally)
    for idx, row in content.rows:
        tally = tallies[row.site_id]
        if idx in verdict.fresh or idx in verdict.reused:
            tally.accepted += 1
            tally.bytes += row.size_bytes
        else:
            tally.duplicate += 1
    for _, rejected in content.rejected:
        tallies[rejected.site_id or SITE_UNKNOWN].rejected += 1
    for site, events in content.withheld.items():
        tallies[site].withheld += events
    counted = list(tallies.values())
    name = {"writer": segment.writer, "segment_no": segment.segment_no}
    connection.execute(
        LOADED,
        name
        | {
            "sha256": content.sha256,
            "hour": content.first.replace(minute=0, second=0, microsecond=0),
            "first": content.first,
            "last": content.last,
            "accepted": sum(tally.accepted for tally in counted),
            "duplicate": sum(tally.duplicate for tally in counted),
            "rejected": sum(tally.rejected for tally in counted),
            "withheld": sum(tally.withheld for tally in counted),
            "damaged": len(content.damage),
            "bytes": sum(tally.bytes for tally in counted),
        },
    )
    if not counted:
        return
    sites = list(tallies)
    connection.execute(SITES, {"sites": sites})
    connection.execute(
        USAGE,
        name
        | {
            "day": content.day,
            "sites": sites,
            "accepted": [tally.accepted for tally in counted],
            "duplicate": [tally.duplicate for tally in counted],
            "rejected": [tally.rejected for tally in counted],
            "withheld": [tally.withheld for tally in counted],
            "bytes": [tally.bytes for tally in counted],
        },
    )

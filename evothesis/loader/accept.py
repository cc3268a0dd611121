"""Accept: segments that are gone for good in, a position behind them and a record of the decision out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.errors import LoadError
from evothesis.loader.keep import POSITIONS, forgotten
from evothesis.spool.segments import sealed

ADOPT = "insert into writers (writer) values (%(writer)s) on conflict do nothing"
GIVE_UP = """
-- a row for each lost number, so that exports and invoices cover numbers without a gap
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes, lost)
select %(writer)s, segment_no, '', date_trunc('hour', now()), now(), now(), 0, 0, 0, 0, 0, 0, true
  from generate_series(%(first)s::bigint, %(last)s::bigint) as segment_no
"""
ADVANCE = """
update writers set next_segment_no = %(last)s + 1 where writer = %(writer)s and next_segment_no = %(first)s
"""
AUDIT = "insert into audit_log (actor, action, details) values (%(actor)s, 'accept-loss', %(details)s)"


class Gap(NamedTuple):
    """Consecutive segments of a writer that neither the database nor the spool has."""

    writer: int
    first: int
    last: int


def gaps(connection: pg.Connection, spool: Path) -> list[Gap]:
    """What writers wait for in vain: after a restore they wait for what was kept too."""
    present = [*forgotten(connection, spool), *sealed(spool)]
    oldest = {segment.writer: segment.segment_no for segment in sorted(present, reverse=True)}
    # asked for last: what a loader moves meanwhile must not look missing
    positions = {row["writer"]: row["next_segment_no"] for row in connection.execute(POSITIONS).fetchall()}
    found = []
    for writer, segment_no in sorted(oldest.items()):
        position = positions.get(writer, 0)
        if position < segment_no:
            found.append(Gap(writer, position, segment_no - 1))
    return found


def accept(connection: pg.Connection, gap: Gap, *, actor: str, reason: str) -> None:
    """Give a gap up, for the record. Raises LoadError when it is none any more."""
    with connection.transaction():
        connection.execute(ADOPT, {"writer": gap.writer})
        if connection.execute(ADVANCE, gap._asdict()).rowcount != 1:
            message = f"writer {gap.writer} does not wait for segment {gap.first} any more"
            raise LoadError(message)
        connection.execute(GIVE_UP, gap._asdict())
        connection.execute(AUDIT, {"actor": actor, "details": Jsonb(gap._asdict() | {"reason": reason})})

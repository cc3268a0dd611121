"""Check: the ledger against what is stored, load by load. Nothing should come out.

ledger = accepted = stored + removed        of each load
ledger = sums                               of each site and day
ledger = types                              of each site and hour, of loads since types are counted
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from evothesis import pg

LOADS = """
-- one statement, one moment: what is loaded or removed meanwhile cannot look like a difference
with day_loads as (
  select writer, segment_no, accepted from loads where hour >= %(begin)s and hour < %(end)s
)
select writer, segment_no, sum(ledger)::bigint as ledger, sum(accepted)::bigint as accepted,
       sum(stored)::bigint as stored, sum(removed)::bigint as removed
  from (
    select writer, segment_no, accepted as ledger, 0 as accepted, 0 as stored, 0 as removed
      from usage_ledger where usage_day = %(day)s
    union all
    select writer, segment_no, 0, accepted, 0, 0 from day_loads
    union all
    select writer, segment_no, 0, 0, 1, 0 from events_log where created_at >= %(begin)s and created_at < %(end)s
    union all
    select writer, segment_no, 0, 0, 0, r.events from day_loads join removed r using (writer, segment_no)
  ) counted
 group by writer, segment_no
having sum(ledger) <> sum(accepted) or sum(accepted) <> sum(stored) + sum(removed)
"""
SUMS = """
select site_id, sum(ledger)::bigint as ledger, sum(sums)::bigint as sums, sum(ledger_bots)::bigint as ledger_bots,
       sum(sums_bots)::bigint as sums_bots
  from (
    select site_id, accepted as ledger, 0 as sums, bots as ledger_bots, 0 as sums_bots
      from usage_ledger where usage_day = %(day)s
    union all
    select site_id, 0, accepted, 0, bots from usage_counts where usage_day = %(day)s
  ) counted
 group by site_id
having sum(ledger) <> sum(sums) or sum(ledger_bots) <> sum(sums_bots)
"""
TYPES = """
with counted as (
  select u.site_id, l.hour, u.accepted as ledger, 0 as types
    from loads l join usage_ledger u using (writer, segment_no) join writers w using (writer)
   where l.hour >= %(begin)s and l.hour < %(end)s and u.usage_day = %(day)s and l.segment_no >= w.types_from_segment_no
  union all
  select site_id, hour, 0, events from usage_types where hour >= %(begin)s and hour < %(end)s
)
select site_id, hour, sum(ledger)::bigint as ledger, sum(types)::bigint as types
  from counted group by site_id, hour
having sum(ledger) <> sum(types)
"""


class Difference(NamedTuple):
    """A load, or a site's day or hour, that is counted otherwise in one place than in another."""

    day: date
    what: str
    counts: dict[str, int]

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.what} of {self.day}: " + ", ".join(f"{name} {count}" for name, count in self.counts.items())


def differences(connection: pg.Connection, day: date) -> Iterator[Difference]:
    """What does not agree about the events received on one UTC day, row by row as the database finds it.

    Reads that day's partition of `events_log` and its part of the ledger, and nothing of any other day.
    """
    begin = datetime.combine(day, time(), UTC)
    parameters = {"day": day, "begin": begin, "end": begin + timedelta(days=1)}
    with connection.transaction(), connection.cursor("loads") as loads:
        for row in loads.execute(LOADS, parameters):
            what = f"segment {row.pop('segment_no')} of writer {row.pop('writer')}"
            yield Difference(day, what, row)
    with connection.transaction(), connection.cursor("sums") as sums:
        for row in sums.execute(SUMS, parameters):
            what = f"site {row.pop('site_id')!r}"
            yield Difference(day, what, row)
    with connection.transaction(), connection.cursor("types") as types:
        for row in types.execute(TYPES, parameters):
            what = f"types of site {row.pop('site_id')!r} in hour {row.pop('hour'):%H}"
            yield Difference(day, what, row)

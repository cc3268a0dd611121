"""Traffic: what came in, by minute of the last hour and by hour of the last day; from the loads, never from events."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from evothesis.pg import Connections

MINUTES, HOURS = 60, 24
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EARLIER_SECONDS = 60.0  # for which hours hold that are over: nothing but a backlog still changes them

LOADS = """
-- a segment lies within one hour, which its load tells; of minutes it tells the one in which the segment begins
select hour, case when hour >= %(minutes_from)s then date_trunc('minute', first_received_at) end as minute,
       sum(accepted)::bigint as events, sum(duplicate)::bigint as duplicates, sum(rejected)::bigint as rejected,
       sum(withheld)::bigint as withheld
  from loads where hour >= %(begin)s and hour < %(end)s
 group by 1, 2
"""


class Stretch(msgspec.Struct):
    """What was received in a minute or an hour, bots among the events."""

    begins_at: datetime
    events: int = 0
    duplicates: int = 0
    rejected: int = 0
    withheld: int = 0


class Traffic(msgspec.Struct):
    """The oldest first; the last minute and the last hour are not over yet."""

    minutes: list[Stretch]
    hours: list[Stretch]


class Flow:
    """Asks the loads; what it found of the hours before the last one is remembered for a moment."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._earlier: list[dict[str, Any]] = []
        self._end: datetime | None = None
        self._asked_at = float("-inf")

    async def traffic(self, connections: Connections, now: datetime) -> Traffic:
        """As it is at `now`. Raises psycopg.Error and PoolTimeout."""
        this_hour = now.replace(minute=0, second=0, microsecond=0)
        this_minute = now.replace(second=0, microsecond=0)
        end = this_hour - HOUR  # of what is remembered: the last sixty minutes lie behind it
        async with connections.connection() as connection:
            if self._end != end or time.monotonic() - self._asked_at >= EARLIER_SECONDS:
                old = {"begin": this_hour - (HOURS - 1) * HOUR, "end": end, "minutes_from": end}
                self._earlier = await (await connection.execute(LOADS, old)).fetchall()
                self._end, self._asked_at = end, time.monotonic()
            new = {"begin": end, "end": this_hour + HOUR, "minutes_from": end}
            rows = await (await connection.execute(LOADS, new)).fetchall()
        minutes = _stretches(this_minute, MINUTE, MINUTES, rows, "minute")
        return Traffic(minutes, _stretches(this_hour, HOUR, HOURS, [*self._earlier, *rows], "hour"))


def _stretches(last: datetime, step: timedelta, count: int, rows: Iterable[dict[str, Any]], name: str) -> list[Stretch]:
    """So many up to the last; what lies in none of them is left out."""
    begins = [last - number * step for number in reversed(range(count))]
    found = {begin: Stretch(begin) for begin in begins}
    for row in rows:
        if stretch := found.get(row[name]):
            stretch.events += row["events"]
            stretch.duplicates += row["duplicates"]
            stretch.rejected += row["rejected"]
            stretch.withheld += row["withheld"]
    return list(found.values())

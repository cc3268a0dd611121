"""Budget: what was loaded in, the sites that had more events on a day than they should out. Nothing is dropped."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import date

from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.spool.segments import Segment

log = logging.getLogger(__name__)

SITES_MAX = 10_000  # counted at a time: anybody can make up sites
TOLD_MAX = 100  # of a day; more are not worth a line each
DAYS_MAX = 4  # what waits may be three days old

SEED = """
-- once a day, and when the loader has connected; what the largest ones leave out begins at 0
select site_id, sum(accepted)::bigint as events from usage_ledger where usage_day = %(day)s
 group by site_id order by events desc, site_id limit %(sites_max)s
"""
LOADED = (
    "select site_id, accepted as events from usage_ledger where writer = %(writer)s and segment_no = %(segment_no)s"
)
TELL = """
-- once for each site, day and budget, however often the loader starts
insert into audit_log (actor, action, details)
select 'loader', 'over-budget', %(about)s::jsonb || jsonb_build_object('events', %(events)s::bigint)
 where not exists (select from audit_log where action = 'over-budget' and details @> %(about)s::jsonb)
"""


class _Day:
    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.over: list[str] = []


class Budget:
    """The events of each site on each UTC day, beside [limits] events_per_site_and_day."""

    def __init__(self, events_max: int) -> None:
        """0 is no budget: nothing is counted."""
        self._events_max = events_max
        self._days: dict[date, _Day] = {}

    def begin(self, connection: pg.Connection, today: date) -> None:
        """Count anew: the database may be another one, or know more than was heard."""
        self._days.clear()
        if self._events_max:
            self._seed(connection, today)

    def add(self, connection: pg.Connection, segment: Segment, day: date) -> None:
        """Count a segment that was loaded."""
        if not self._events_max:
            return
        if day not in self._days:
            self._seed(connection, day)  # the ledger has the segment already
            return
        name = {"writer": segment.writer, "segment_no": segment.segment_no}
        events = {row["site_id"]: row["events"] for row in connection.execute(LOADED, name).fetchall()}
        known = self._days[day]
        known.counts.update(events)
        self._tell(connection, day, events)
        if len(known.counts) > SITES_MAX:
            known.counts = Counter(dict(known.counts.most_common(SITES_MAX // 2)))

    def over(self, day: date) -> tuple[str, ...]:
        """The sites that had more than their budget on that day, in the order in which they were noticed."""
        return tuple(self._days[day].over) if day in self._days else ()

    def _seed(self, connection: pg.Connection, day: date) -> None:
        rows = connection.execute(SEED, {"day": day, "sites_max": SITES_MAX}).fetchall()
        self._days[day] = _Day(Counter({row["site_id"]: row["events"] for row in rows}))
        self._tell(connection, day, self._days[day].counts)
        if len(self._days) > DAYS_MAX:
            del self._days[min(self._days)]

    def _tell(self, connection: pg.Connection, day: date, sites: Iterable[str]) -> None:
        known = self._days[day]
        for site in sites:
            events = known.counts[site]
            if events <= self._events_max or site in known.over or len(known.over) >= TOLD_MAX:
                continue
            known.over.append(site)
            about = {"site_id": site, "day": day.isoformat(), "budget": self._events_max}
            if connection.execute(TELL, {"about": Jsonb(about), "events": events}).rowcount:
                log.warning("Site is over its daily budget.", extra=about | {"events": events})

"""Loss: what trackers recorded in a month, and how much of it never arrived, from the numbers that they give to events.

It reads the view `tracker_loss`, which tells the last seven days and scans their events: for people who ask, now and
then. Nothing is billed by it.
"""

from __future__ import annotations

from typing import NamedTuple

from evothesis import pg
from evothesis.usage.meter import Month

LOSSES = """
select site_id, count(*)::integer as days, sum(sent)::bigint as sent, sum(received)::bigint as received,
       sum(lost)::bigint as lost
  from tracker_loss
 where day >= %(first)s and day < %(next)s
 group by site_id
 order by site_id
"""


class Loss(NamedTuple):
    """One site's events that its trackers numbered, on so many days: recorded, arrived, and the difference."""

    site_id: str
    days: int
    sent: int
    received: int
    lost: int


def losses(connection: pg.Connection, month: Month) -> list[Loss]:
    """Each site's loss on those days of the month that are among the last seven; none of a site without a tracker.

    The end of a visit that never arrived cannot be counted, so that a site loses at least what is told.
    """
    rows = connection.execute(LOSSES, {"first": month.first, "next": month.next}).fetchall()
    return [Loss(**row) for row in rows]

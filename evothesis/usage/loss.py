"""Loss: what trackers recorded and never arrived, by site. Nobody is billed for it."""

from __future__ import annotations

from evothesis import pg
from evothesis.usage.meter import Month

LOST = """
-- reads the events of seven days: it is asked only when somebody wants to know
select site_id, sum(lost)::bigint as lost
  from tracker_loss where day >= %(first)s and day < %(next)s
 group by site_id
"""


def losses(connection: pg.Connection, month: Month) -> dict[str, int]:
    """Lost events of each site, of those days of the month that lie in the last seven."""
    rows = connection.execute(LOST, {"first": month.first, "next": month.next}).fetchall()
    return {row["site_id"]: row["lost"] for row in rows}

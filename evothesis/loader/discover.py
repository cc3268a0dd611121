"""Discover: the sites of a load in; a message for each that nobody has heard of, in the load's transaction, out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from evothesis import outbox, pg
from evothesis.loader.tally import SITE_UNKNOWN

TOLD_MAX = 100  # in 24 hours: anybody can make up sites, and nobody reads a thousand messages

SITES = """
-- in one order: two loaders with the same new sites would wait for each other
insert into sites (site_id) select site_id from unnest(%(sites)s::text[]) as site_id order by site_id
on conflict do nothing returning site_id
"""
TOLD = """
select count(*) as told from outbox where kind = 'site.discovered' and created_at > now() - interval '24 hours'
"""


def discover(connection: pg.Connection, sites: Collection[str], first_received_at: datetime) -> None:
    """Remember sites; of two loaders that meet the same new one, the first to commit tells of it."""
    new = [row["site_id"] for row in connection.execute(SITES, {"sites": list(sites)}).fetchall()]
    known = [site for site in new if site != SITE_UNKNOWN]
    if known:
        told = pg.one(connection, TOLD)["told"]
        for site in known[: max(TOLD_MAX - told, 0)]:
            outbox.add(connection, "site.discovered", site, {"site_id": site, "first_received_at": first_received_at})

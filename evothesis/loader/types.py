"""Types: accepted events of a load by site and type in, sums by hour out; within the load's transaction.

Anybody can make up types, and each of them would be a row an hour for ever. So the types of tracking.js have a name at
every site, and the first others have, each site its own; events of all further ones are counted as `(other)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from psycopg.rows import DictRow

from evothesis import pg
from evothesis.event import encode_json
from evothesis.loader.tally import Tally

OTHER = "(other)"
OTHERS_MAX = 50  # with a name at one site, for ever
TYPE_LENGTH_MAX = 50  # as the collector has it
OWN = (
    "click",
    "copy",
    "custom",
    "dead_click",
    "download",
    "engagement",
    "error",
    "form",
    "identify",
    "media",
    "outbound",
    "pageview",
    "rage_click",
    "scroll",
    "search",
    "selection",
    "visibility",
    "vitals",
)

KNOWN = """
select e.site_id, e.event_type
  from event_types e
  join json_to_recordset(%(counts)s::json) as s (site_id text, event_type text) using (site_id, event_type)
"""
NAME = """
-- while the site has room; in one order: two loaders with the same new types would wait for each other
insert into event_types (site_id, event_type)
select site_id, event_type
  from (
    select site_id, event_type, coalesce(known.types, 0)
           + row_number() over (partition by site_id order by events desc, event_type) as number
      from json_to_recordset(%(counts)s::json) as s (site_id text, event_type text, events bigint)
      left join (
        select site_id, count(*) as types from event_types where site_id = any(%(sites)s::text[]) group by site_id
      ) known using (site_id)
  ) numbered
 where number <= %(others_max)s
 order by site_id, event_type
on conflict do nothing
returning site_id, event_type
"""
ADD = """
insert into usage_types as u (hour, site_id, event_type, events)
select %(hour)s, * from json_to_recordset(%(counts)s::json) as s (site_id text, event_type text, events bigint)
 order by 2, 3
on conflict (site_id, hour, event_type) do update set events = u.events + excluded.events
"""

Counts = dict[tuple[str, str], int]  # events by site and type


def count_types(connection: pg.Connection, hour: datetime, tallies: Mapping[str, Tally]) -> None:
    """Add the accepted events of a load that was received within this hour."""
    counts: Counts = {(site, kind): events for site, part in tallies.items() for kind, events in part.types.items()}
    others = {key: events for key, events in counts.items() if key[1] not in OWN}
    for site, kind in others.keys() - _named(connection, others):
        key = (site, OTHER)
        counts[key] = counts.pop((site, kind)) + counts.get(key, 0)
    if counts:
        connection.execute(ADD, {"hour": hour, "counts": _json(counts)})


def _named(connection: pg.Connection, others: Counts) -> set[tuple[str, str]]:
    """Which of them have a name, now that the first new ones got theirs."""
    fit = {key: events for key, events in others.items() if key[1] != OTHER and len(key[1]) <= TYPE_LENGTH_MAX}
    if not fit:
        return set()
    named = _pairs(connection.execute(KNOWN, {"counts": _json(fit)}))
    if new := {key: events for key, events in fit.items() if key not in named}:
        parameters = {"counts": _json(new), "sites": [*{site for site, _ in new}], "others_max": OTHERS_MAX}
        named |= _pairs(connection.execute(NAME, parameters))
    return named


def _json(counts: Counts) -> str:
    # one text that the server takes apart: a fifth of the work here that arrays of adapted objects are
    rows = [{"site_id": site, "event_type": kind, "events": events} for (site, kind), events in counts.items()]
    return encode_json(rows).decode()


def _pairs(rows: Iterable[DictRow]) -> set[tuple[str, str]]:
    return {(row["site_id"], row["event_type"]) for row in rows}

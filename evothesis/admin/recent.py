"""Recent: the newest stored events, as JSON."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from psycopg_pool import AsyncConnectionPool

from evothesis.pg import AsyncConnection

# there is no index to walk backwards: look at ever longer stretches, whose blocks the BRIN index names
STRETCHES = (timedelta(minutes=5), timedelta(hours=2), timedelta(days=2), timedelta(days=3650))

RECENT = """
select event_id::text, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent,
       host(ip_address) as ip_address, raw_event_data, created_at, writer, segment_no, idx
  from events_log
 where created_at > now() - %(stretch)s
 order by created_at desc, segment_no desc, idx desc
 limit %(limit)s
"""


async def recent_events(connections: AsyncConnectionPool[AsyncConnection], *, limit: int) -> bytes:
    """`{"events": [...]}`, newest first, at most `limit`."""
    rows = []
    async with connections.connection() as connection:
        for stretch in STRETCHES:
            cursor = await connection.execute(RECENT, {"stretch": stretch, "limit": limit})
            rows = await cursor.fetchall()
            if len(rows) >= limit:
                break
    return msgspec.json.encode({"events": rows})

"""Read: a chunk in, its rows as a CSV file out, in the order of their identity."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from evothesis import pg

# PostgreSQL writes NULL as nothing and an empty text as "": polars reads both as they are meant
ROWS = """
copy (
  select e.event_id, e.event_type, e.session_id, e.visitor_id, e.site_id, e.timestamp, e.url, e.path, e.user_agent,
         host(e.ip_address) as ip_address, e.raw_event_data, e.created_at, e.event_id_reused,
         e.writer, e.segment_no, e.idx,
         e.is_bot, e.bot_reason, e.browser, e.browser_version, e.os, e.device_type, e.country,
         e.referrer_type, e.referrer_source,
         e.utm_source, e.utm_medium, e.utm_campaign, e.utm_term, e.utm_content, e.utm_id, e.click_id_type
    from export_ranges r
    join events_log e
      on e.writer = r.writer and e.segment_no between r.first_segment_no and r.last_segment_no
   where r.export_id = %(export_id)s
     and e.created_at between %(first_received_at)s and %(last_received_at)s
   order by e.writer, e.segment_no, e.idx
) to stdout (format csv)
"""


class Planned(NamedTuple):
    """A chunk as the ledger knows it."""

    export_id: int
    export_key: str
    hour: datetime
    first_received_at: datetime
    last_received_at: datetime
    rows: int


def read(connection: pg.Connection, planned: Planned, target: Path) -> None:
    """Write the rows of a chunk to `target`."""
    with connection.cursor() as cursor, target.open("wb") as file, cursor.copy(ROWS, planned._asdict()) as copy:
        for block in copy:
            file.write(block)

"""Ledger: what the loader and the export leave, put into the database as they leave it; and the outbox, looked at."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from typing import Any

from evothesis import pg

ENTRY = """
insert into usage_ledger (writer, segment_no, site_id, usage_day, accepted, bots)
values (1, %(segment_no)s, %(site)s, %(day)s, %(accepted)s, %(bots)s)
"""
POSITION = """
insert into writers (writer, next_segment_no) values (1, %(segment_no)s + 1)
on conflict (writer) do update set next_segment_no = excluded.next_segment_no
"""
WAITING_LOAD = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes, loaded_at)
values (1, 0, '', %(at)s, %(at)s, %(at)s, %(events)s, 0, 0, 0, 0, 0, %(at)s)
"""
TRIED = """
insert into destinations (name, tried_at, succeeded_at, failures, error, hint)
values (%(name)s, now(), %(succeeded_at)s, %(failures)s, 'it is away', 'look')
on conflict (name) do update set succeeded_at = excluded.succeeded_at, failures = excluded.failures
"""
OUTBOX = "select kind, key, data from outbox order by outbox_id"
DELIVERIES = """
select o.kind, o.key, d.channel, d.attempts, d.next_attempt_at, d.delivered_at is not null as delivered, d.error
  from outbox_deliveries d join outbox o using (outbox_id) order by d.outbox_id, d.channel
"""

Row = dict[str, Any]


class Ledger:
    """The tables before and behind `usage notify`."""

    def __init__(self, url: str) -> None:
        """`url` leads to a migrated database."""
        self.url = url
        self.connection = pg.connect(url, name="test")
        self._segment_numbers = itertools.count()

    def add(self, site: str, day: date, accepted: int, bots: int = 0) -> None:
        """What a load counted for a site."""
        entry = {"segment_no": next(self._segment_numbers), "site": site, "day": day}
        with self.connection.transaction():
            self.connection.execute(ENTRY, entry | {"accepted": accepted, "bots": bots})
            self.connection.execute(POSITION, entry)

    def add_days(self, site: str, last: date, accepted: list[int]) -> None:
        """What was counted on days in a row, up to `last`."""
        for number, count in enumerate(reversed(accepted)):
            self.add(site, last - timedelta(days=number), count)

    def wait_for_export(self, at: datetime, events: int) -> None:
        """A load that no destination has."""
        self.connection.execute("insert into writers (writer, next_segment_no) values (1, 1) on conflict do nothing")
        self.connection.execute(WAITING_LOAD, {"at": at, "events": events})

    def fail_export(self, failures: int, succeeded_at: datetime | None = None) -> None:
        """So many runs in a row failed for the destination."""
        self.connection.execute(TRIED, {"name": "client", "failures": failures, "succeeded_at": succeeded_at})

    def messages(self) -> list[Row]:
        """The outbox."""
        return self.connection.execute(OUTBOX).fetchall()

    def keys(self, kind: str) -> list[str]:
        """The key of each message of a kind."""
        return [message["key"] for message in self.messages() if message["kind"] == kind]

    def data(self, kind: str) -> list[Row]:
        """The data of each message of a kind."""
        return [message["data"] for message in self.messages() if message["kind"] == kind]

    def deliveries(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of each delivery."""
        return [tuple(row[column] for column in columns) for row in self.connection.execute(DELIVERIES).fetchall()]

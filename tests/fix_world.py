"""World: a spool with a writer, and the database that a loader brings it into."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import pytest

from evothesis.collector.intake import Request, take
from evothesis.collector.policy import Policy
from evothesis.config import Spool
from evothesis.event import Entry, encode_entry
from evothesis.loader.run import LOCK, Loader
from evothesis.spool.segments import sealed
from evothesis.spool.writer import Writer
from tests.appliance import eventually
from tests.asking import Asking

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
DAY = timedelta(days=1)

STORED = """
select event_id::text as event_id, raw_event_data, event_id_reused, created_at from events_log
 order by created_at, writer, segment_no, idx
"""
LOADERS = "select from pg_stat_activity where application_name = 'evothesis loader' and datname = current_database()"
WORKING = f"""
select from pg_locks
 where locktype = 'advisory' and objid = {LOCK & 0xFFFFFFFF} and granted
   and database = (select oid from pg_database where datname = current_database())
"""  # noqa: S608 - a number
LOADS = """
select segment_no, accepted, duplicate, rejected, withheld, damaged, bytes from loads order by loaded_at
"""
USAGE = """
select site_id, usage_day, sum(accepted)::int as accepted, sum(duplicate)::int as duplicate,
       sum(rejected)::int as rejected, sum(withheld)::int as withheld
  from usage_ledger group by 1, 2 order by 1, 2
"""


Sent = dict[str, Any]


def event(number: int, content: Any = None, *, site: str = "a.example") -> Sent:  # noqa: ANN401 - any JSON value
    """An event whose id is made of `number`; its content is the number too, if nothing else is given."""
    known = {"eventType": "click", "eventId": f"{number:032x}", "siteId": site, "timestamp": NOW.isoformat()}
    return known | {"n": number if content is None else content}


def entry(
    *events: Sent, at: datetime = NOW, withheld: Mapping[str, int] | None = None, agent: str = "Agent/1.0"
) -> Entry:
    """What a request with these events leaves behind that is received at that time."""
    body = msgspec.json.encode({"eventType": "batch", "events": events})
    request = Request(at, body, user_agent=agent, peer="192.0.2.7")
    taken = take(request, Policy(), salt=b"")
    return msgspec.structs.replace(taken.entry, withheld=dict(withheld or {}))


class World:
    """A spool with a writer, and the database that it is loaded into."""

    def __init__(self, database: str, spool: Path) -> None:
        """Nothing was written, nothing runs."""
        self.database = database
        self._asking = Asking(database)
        self.settings = Spool(path=spool)
        self.writer = Writer.claim(spool)

    @property
    def spool(self) -> Path:
        """Where the segments lie."""
        return self.settings.path

    def close(self) -> None:
        """Let go of the spool and of the database."""
        self.writer.close()
        self._asking.close()

    def put(self, *entries: Entry, writer: Writer | None = None) -> Path:
        """Append entries and seal the segment; returns where it lies."""
        writer = writer or self.writer
        writer.append([(encode_entry(entry), len(entry.rows) + len(entry.rejected)) for entry in entries])
        writer.seal()
        return max(segment.path for segment in sealed(self.spool) if segment.writer == writer.writer)

    def load(self) -> None:
        """Load all that can be loaded; returns when PostgreSQL has noticed that the loader is gone."""
        stop = threading.Event()
        stop.set()
        self.loader(stop).run()
        eventually(lambda: not self.rows(LOADERS))

    def loader(self, stop: threading.Event) -> Loader:
        """A loader, not started."""
        return Loader(self.database, self.settings, stop, lambda: None)

    def rows(self, query: LiteralString) -> list[dict[str, Any]]:
        """Ask the database."""
        return self._asking.rows(query)

    def stored(self) -> list[tuple[Any, bool]]:
        """What is stored: the content of each event, and whether another event has its id."""
        return [(event["raw_event_data"]["n"], event["event_id_reused"]) for event in self.rows(STORED)]

    def loads(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of each load, by number."""
        return [tuple(load[column] for column in columns) for load in self.rows(LOADS)]


@pytest.fixture
def world(database: str, tmp_path: Path) -> Iterator[World]:
    """An empty spool and an empty database."""
    world = World(database, tmp_path / "spool")
    yield world
    world.close()

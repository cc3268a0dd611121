"""Feed: loaded segments in, their events out, to any number of readers who each go at their own pace.

A segment is read from the database once, by whoever needs it first, and remembered for the others. A reader has no
queue: it has a place, and asks for what is behind it. So nothing is lost to one who is slow, and nobody waits for it;
who comes back with its place goes on there for as long as the database keeps the events.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from evothesis.admin.cursor import NOTHING, Cursor, Seen
from evothesis.admin.recent import COLUMNS
from evothesis.pg import Connections

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2  # segments are sealed every 0.25 s
RETRY_SECONDS = 1.0
CACHE_BYTES_MAX = 32 * 2**20
BLOCK_SEGMENTS_MAX = 100  # are read at once
BLOCK_BYTES_MAX = 4 * 2**20  # of events as JSON
MESSAGE_EVENTS_MAX = 500
MESSAGE_BYTES_MAX = 256 * 2**10  # clients refuse messages of more than a megabyte by default

POSITIONS = "select writer, next_segment_no from writers"
AT = """
-- the hour, for which there is an index, leads to the segment
select w.writer, coalesce((select min(l.segment_no) from loads l
                            where l.writer = w.writer and l.hour >= date_trunc('hour', %(moment)s::timestamptz)
                              and l.last_received_at >= %(moment)s), w.next_segment_no) as segment_no
  from writers w
"""
LOADS = """
select segment_no, bytes, first_received_at, last_received_at from loads
 where writer = %(writer)s and segment_no >= %(first)s order by segment_no limit %(limit)s
"""
EVENTS = f"""
-- events have no key: the hours of their receipt, as the loads know them, lead to their blocks
select {COLUMNS} from events_log
 where created_at between %(begin)s and %(end)s and writer = %(writer)s
   and segment_no between %(first)s and %(last)s
 order by segment_no, idx
"""  # noqa: S608 - a constant of ours

Gone = (psycopg.Error, PoolTimeout)


class Item(NamedTuple):
    """An event, ready to be sent."""

    idx: int
    site_id: str
    event_type: str
    body: bytes


class Wish(NamedTuple):
    """Which events a reader wants; None: all."""

    site: str | None = None
    type: str | None = None

    def fits(self, item: Item) -> bool:
        """Whether it wants this one."""
        return self.site in (None, item.site_id) and self.type in (None, item.event_type)


class Feed:
    """The stream of one process."""

    def __init__(self, connections: Connections, *, cache_bytes_max: int = CACHE_BYTES_MAX) -> None:
        """Nothing is asked before there is a reader."""
        self._cache_bytes_max = cache_bytes_max
        self.readers = 0
        self.blocks_read = 0
        self._connections = connections
        self._positions: dict[int, int] = {}
        self._reading = asyncio.Lock()
        self._segments: OrderedDict[tuple[int, int], list[Item]] = OrderedDict()
        self._bytes = 0
        self._polling: asyncio.Task[None] | None = None

    @contextmanager
    def reader(self) -> Iterator[None]:
        """As long as there is one, the database is asked what is new."""
        self.readers += 1
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self.readers -= 1
            if not self.readers and self._polling is not None:
                self._polling.cancel()
                self._polling = None

    async def now(self) -> Cursor:
        """The place behind everything that is stored. Raises psycopg.Error and PoolTimeout."""
        return {writer: Seen(following, -1) for writer, following in (await self._ask()).items()}

    async def at(self, moment: datetime) -> Cursor:
        """The place before the segments that were received at this time or later; their first event may be older.

        Raises psycopg.Error and PoolTimeout.
        """
        async with self._connections.connection() as connection:
            rows = await (await connection.execute(AT, {"moment": moment})).fetchall()
        return {row["writer"]: Seen(row["segment_no"], -1) for row in rows}

    async def follow(self, cursor: Cursor, wish: Wish, *, pause_seconds: float) -> AsyncIterator[list[bytes]]:
        """Events behind the cursor, in order of each writer.

        The cursor is moved behind what it yields. An empty list comes when there was nothing for so long.
        """
        loop = asyncio.get_running_loop()
        quiet_since = loop.time()
        while True:
            is_done = True
            for writer, end in list(self._positions.items()):
                seen = cursor.get(writer, NOTHING)
                if seen.segment_no >= end:
                    continue
                is_done = False  # one segment of each writer in turn: none waits for the backlog of another
                items = await self._segment(writer, seen.segment_no)
                for part in _parts([item for item in items if item.idx > seen.idx and wish.fits(item)]):
                    cursor[writer] = Seen(seen.segment_no, part[-1].idx)
                    yield [item.body for item in part]
                    quiet_since = loop.time()
                cursor[writer] = Seen(seen.segment_no + 1, -1)
            if loop.time() - quiet_since >= pause_seconds:
                yield []
                quiet_since = loop.time()
            if is_done:
                await asyncio.sleep(POLL_SECONDS)

    async def _poll(self) -> None:
        while True:
            try:
                self._positions = await self._ask()
            except Gone:  # it is asked again, and who needs a segment says so
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self) -> dict[int, int]:
        async with self._connections.connection() as connection:
            rows = await (await connection.execute(POSITIONS)).fetchall()
        return {row["writer"]: row["next_segment_no"] for row in rows}

    async def _segment(self, writer: int, segment_no: int) -> list[Item]:
        """The events of a segment that is loaded; while the database is away it is waited for."""
        while True:
            async with self._reading:
                if (writer, segment_no) in self._segments:
                    self._segments.move_to_end((writer, segment_no))
                    return self._segments[writer, segment_no]
                try:
                    return await self._read(writer, segment_no)
                except Gone as error:
                    log.warning("Stream waits for the database.", extra={"reason": str(error).partition("\n")[0]})
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, writer: int, segment_no: int) -> list[Item]:
        """Read a segment and some that follow it."""
        self.blocks_read += 1
        async with self._connections.connection() as connection:
            place: dict[str, Any] = {"writer": writer, "first": segment_no, "limit": BLOCK_SEGMENTS_MAX}
            loads = await (await connection.execute(LOADS, place)).fetchall()
            size = 0
            block: list[dict[str, Any]] = []
            for load in loads:
                size += load["bytes"]
                if block and size > BLOCK_BYTES_MAX:
                    break
                block.append(load)
            segments: dict[int, list[Item]] = {load["segment_no"]: [] for load in block}
            if size:
                begin = min(load["first_received_at"] for load in block)
                end = max(load["last_received_at"] for load in block)
                cursor = await connection.execute(EVENTS, place | {"begin": begin, "end": end, "last": max(segments)})
                async for row in cursor:
                    item = Item(row["idx"], row["site_id"], row["event_type"], msgspec.json.encode(row))
                    segments[row["segment_no"]].append(item)
        for number, items in segments.items():
            self._keep((writer, number), items)
        return segments.get(segment_no, [])

    def _keep(self, name: tuple[int, int], items: list[Item]) -> None:
        if name in self._segments:
            return
        self._segments[name] = items
        self._bytes += _size(items)
        while self._bytes > self._cache_bytes_max and len(self._segments) > 1:
            _, old = self._segments.popitem(last=False)
            self._bytes -= _size(old)


def _size(items: list[Item]) -> int:
    return 100 + sum(len(item.body) for item in items)


def _parts(items: list[Item]) -> Iterator[list[Item]]:
    """As many as a message may have."""
    part: list[Item] = []
    size = 0
    for item in items:
        if part and (len(part) >= MESSAGE_EVENTS_MAX or size + len(item.body) > MESSAGE_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item.body)
    if part:
        yield part

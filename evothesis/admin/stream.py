"""Stream: events as they are stored, over a WebSocket.

Each message is `{"cursor": "…", "events": […]}`; the first one has no events. Whoever comes back with the last cursor
goes on behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import psycopg
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Meta
from psycopg_pool import PoolTimeout

from evothesis.admin import cursor as cursors
from evothesis.admin.access import SUBPROTOCOL, AccessError, subprotocols
from evothesis.admin.cursor import Cursor
from evothesis.admin.desk import Asked
from evothesis.admin.feed import Feed, Wish
from evothesis.admin.query import Name, Query, parse

READERS_MAX = 256
PAUSE_SECONDS = 15.0  # after which a message without events comes; so often the token is looked at, too
CLOSE_SECONDS = 1.0
PING_SECONDS = 20.0  # a client that does not answer is gone


class StreamQuery(Query, frozen=True):
    """Which events; `since` is the cursor of the last message, or a time; without it the stream begins now."""

    site: Name | None = None
    type: Name | None = None
    since: Annotated[str, Meta(pattern=cursors.PATTERN)] | None = None


class Message(msgspec.Struct):
    """What is sent: events, and the cursor behind them."""

    cursor: str
    events: list[msgspec.Raw]


async def stream(asked: Asked) -> web.StreamResponse:
    """Events as they are stored (WebSocket): each once, in order of each writer, from a cursor on."""
    query = parse(asked.request, StreamQuery)
    feed = asked.desk.feed
    offered = subprotocols(asked.request)
    if offered and SUBPROTOCOL not in offered:  # aiohttp would write them into the log, a token among them perhaps
        raise AccessError(400, "subprotocol_unknown", f"the only subprotocol is {SUBPROTOCOL}")
    socket = web.WebSocketResponse(
        heartbeat=PING_SECONDS,
        timeout=CLOSE_SECONDS,
        compress=False,
        max_msg_size=1024,
        protocols=(SUBPROTOCOL,),
    )
    if not socket.can_prepare(asked.request):
        raise AccessError(400, "upgrade_missing", "this is a WebSocket")
    if feed.readers >= READERS_MAX:
        raise AccessError(503, "too_many_readers", f"there may be {READERS_MAX} readers")
    cursor = await _begin(feed, query.since)
    await socket.prepare(asked.request)
    asked.desk.sockets.add(socket)
    sending = asyncio.create_task(_send(asked, socket, cursor, Wish(query.site, query.type)))
    try:
        async for _ in socket:  # nothing is expected; pings and the end are seen here
            pass
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await sending
    return socket


async def _begin(feed: Feed, since: str | None) -> Cursor:
    if since is None:
        return await feed.now()
    if moment := cursors.moment(since, datetime.now(UTC)):
        return await feed.at(moment)
    return cursors.parse(since)


async def _send(asked: Asked, socket: web.WebSocketResponse, cursor: Cursor, wish: Wish) -> None:
    feed = asked.desk.feed
    try:
        with feed.reader():
            await _told(socket, cursor, [])
            async for events in feed.follow(cursor, wish, pause_seconds=PAUSE_SECONDS):
                if not events and not await _is_still_allowed(asked.is_allowed):
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the token is not valid any more")
                    return
                await _told(socket, cursor, events)
    finally:
        await socket.close()


async def _told(socket: web.WebSocketResponse, cursor: Cursor, events: list[bytes]) -> None:
    """Returns when the client has taken most of it: who is slow waits for itself alone."""
    message = Message(cursors.written(cursor), [msgspec.Raw(event) for event in events])
    await socket.send_frame(msgspec.json.encode(message), WSMsgType.TEXT)


async def _is_still_allowed(ask: Callable[[], Awaitable[object]]) -> bool:
    try:
        await ask()
    except AccessError:
        return False
    except (psycopg.Error, PoolTimeout):  # nobody can tell now
        return True
    return True

"""Desk: what the routes of the operator's API share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from weakref import WeakSet

import msgspec
from aiohttp import web

from evothesis import pg
from evothesis.admin.access import Access
from evothesis.admin.deliveries import Deliveries
from evothesis.admin.exports import Exports
from evothesis.admin.feed import Feed
from evothesis.admin.objectives import History
from evothesis.admin.requests import Requests
from evothesis.admin.traffic import Flow
from evothesis.config import Config
from evothesis.numbers import Board
from evothesis.pg import Connections

REPORTS_MAX = 2  # at a time: who asks for bills and states must not keep those who load events waiting

T = TypeVar("T")


class Desk:
    """One for each listener, made in its event loop."""

    def __init__(
        self, config: Config, url: str, connections: Connections, board: Board, exports: Exports | Requests
    ) -> None:
        """`url` and `connections` lead to the same database."""
        self.board = board
        self.config = config
        self.connections = connections
        self.exports = exports
        self.access = Access(config.admin.token)
        self.deliveries = Deliveries()
        self.feed = Feed(connections)
        self.flow = Flow()
        self.history = History(board)
        self.sockets: WeakSet[web.WebSocketResponse] = WeakSet()
        self._url = url
        self._reports = asyncio.Semaphore(REPORTS_MAX)

    async def report(self, make: Callable[[pg.Connection], T]) -> T:
        """What a stage reports, which knows no event loop: in a thread, with a connection of its own that reads."""

        def connected() -> T:
            with pg.connect(self._url, name="admin report", reads_only=True) as connection:
                return make(connection)

        async with self._reports:
            return await asyncio.to_thread(connected)


class Asked(NamedTuple):
    """A request that may be answered; `actor` is who asks, for audit_log.

    `is_allowed` raises AccessError when it may not be any more: for an answer that takes hours.
    """

    desk: Desk
    request: web.Request
    actor: str
    is_allowed: Callable[[], Awaitable[object]]


def answer(body: object, *, status: int = 200) -> web.Response:
    """JSON, which nobody may keep; bytes are JSON already."""
    text = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return web.Response(
        status=status, body=text, content_type="application/json", headers={"Cache-Control": "no-store"}
    )

"""Server: a committer and the configuration in, a collector that listens out."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Self

from aiohttp import web

from evothesis import listener
from evothesis.collector.commit import Committer
from evothesis.collector.connection import Connection
from evothesis.collector.door import Door
from evothesis.collector.http import Collector
from evothesis.collector.reception import Reception, Shared
from evothesis.collector.stranger import Stranger, guarded
from evothesis.config import Config


class Server:
    """The public listener of one process. Others listen on the same port; the kernel spreads connections over them."""

    def __init__(self, door: Door, runner: web.AppRunner, sockets: asyncio.Server) -> None:
        """Made by `open`."""
        self._door = door
        self._runner = runner
        self._sockets = sockets
        self._sweeping = asyncio.create_task(door.sweep())

    @classmethod
    async def open(
        cls, config: Config, committer: Committer, shared: Shared, listening: socket.socket | None = None
    ) -> Self:
        """Listen: on a socket of its own, or on one that all processes share."""
        reception = Reception(config, committer, shared)
        runner = await listener.prepare(Collector(config, committer, reception).application())
        server = runner.server
        assert server is not None  # noqa: S101 - it was prepared
        server.request_handler = guarded(server.request_handler)
        loop = asyncio.get_running_loop()
        own: dict[str, Any] = {"host": config.server.host, "port": config.server.port, "reuse_port": True}
        door = Door(config, reception, lambda: Stranger(server, loop=loop, **listener.PROTOCOL))
        tls = listener.tls(config.server)
        sockets = await loop.create_server(
            lambda: Connection(door),
            **({"sock": listening} if listening else own),
            backlog=listener.BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=listener.HANDSHAKE_SECONDS_MAX if tls else None,
        )
        return cls(door, runner, sockets)

    async def close(self) -> None:
        """Take no more connections nor requests; returns when those under way are answered."""
        self._sockets.close()
        self._sweeping.cancel()
        await asyncio.gather(self._door.close(seconds_max=listener.SHUTDOWN_SECONDS), self._runner.cleanup())

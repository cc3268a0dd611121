"""HTTP: the routes of the public listener, as aiohttp serves them.

A plain `POST` of events seldom comes here: `connection` answers it. What it does not know does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web

from evothesis import heartbeat
from evothesis.collector.commit import Committer
from evothesis.collector.decode import BODY_BYTES_MAX, EnvelopeError
from evothesis.collector.reception import Receipt, Reception, demand_type, encode
from evothesis.collector.script import Script
from evothesis.config import Config

PIXEL_PATH = "/pixel.gif"
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")


class Collector:
    """The routes and what they share."""

    def __init__(self, config: Config, committer: Committer, reception: Reception) -> None:
        """`committer` knows whether events can be taken."""
        self._config = config
        self._committer = committer
        self._reception = reception
        self._script = Script.load(script_path=config.server.script_path, collect_path=config.server.collect_path)

    def application(self) -> web.Application:
        """The routes of the public listener."""
        application = web.Application()
        application.on_response_prepare.append(self._finish)
        collect = application.router.add_resource(self._config.server.collect_path)
        collect.add_route("POST", self.collect)
        collect.add_route("OPTIONS", self.preflight)
        for path in (self._script.path, self._script.hashed_path):
            application.router.add_get(path, self._script.answer)
        application.router.add_get(PIXEL_PATH, self.pixel)
        application.router.add_get("/health", self.health)
        return application

    async def collect(self, request: web.Request) -> web.Response:
        """POST of an event or a batch; answered when everything accepted is on disk."""
        head = self._reception.head(request.raw_headers, request.remote)
        self._reception.admit(head)
        demand_type(head)
        receipt = self._reception.take(head, await self._body(request))
        await self._kept(receipt)
        return web.Response(body=receipt.body, content_type="application/json")

    async def _body(self, request: web.Request) -> bytes:
        """All of it, within the limit of one and of all; the connection sees to it that it does not take for ever."""
        body = bytearray()
        try:
            async for data in request.content.iter_any():
                body += data
                self._reception.hold(len(data))
                if len(body) > BODY_BYTES_MAX:
                    raise EnvelopeError(413, "body_too_large", f"a body may have {BODY_BYTES_MAX} bytes")
            return bytes(body)
        finally:
            self._reception.hold(-len(body))

    async def preflight(self, request: web.Request) -> web.Response:
        """OPTIONS, which browsers send before a body that is not plain text."""
        self._reception.origins.demand(request.headers.get("Origin"))
        headers = {"Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "86400"}
        return web.Response(
            status=204, headers={**headers, "Access-Control-Allow-Headers": "Content-Type, Content-Encoding"}
        )

    async def pixel(self, request: web.Request) -> web.Response:
        """GET of the image that counts a page view without JavaScript."""
        head = self._reception.head(request.raw_headers, request.remote)._replace(encoding="", origin=None)
        self._reception.admit(head)
        event = {"eventType": "pageview", "url": request.query.get("url") or head.page, "data": {"pixel": True}}
        if site := request.query.get("site"):
            event["siteId"] = site
        document = {name: value for name, value in event.items() if value is not None}
        # no one can see two views of one page by one client apart but by their time
        document["timestamp"] = datetime.now(UTC).isoformat()
        await self._kept(self._reception.take(head, encode(document)))
        return web.Response(body=PIXEL, content_type="image/gif", headers={"Cache-Control": "no-store"})

    async def health(self, _request: web.Request) -> web.Response:
        """GET for monitors and load balancers: 503 when no event can be taken."""
        trouble = self._committer.trouble
        loader = heartbeat.read(self._config.spool.path)
        age = round(time.time() - loader.at, 1) if loader else None
        alive = age is not None and age < heartbeat.STALE_AFTER_SECONDS
        connected = alive and loader is not None and loader.database_error is None
        report = {
            "status": "failed" if trouble else "ok" if connected else "degraded",
            "spool": {"accepting": trouble is None, "reason": trouble},
            "loader": {"alive": alive, "seen_seconds_ago": age, "waiting_segments": loader.waiting if loader else None},
            "database": {
                "connected": connected,
                "reason": loader.database_error if loader and alive else "the loader is not running",
            },
        }
        return web.Response(
            status=503 if trouble else 200,
            body=encode(report),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    async def _kept(self, receipt: Receipt) -> None:
        if receipt.durable:
            await receipt.durable
        self._reception.settled(receipt)

    async def _finish(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path in (self._config.server.collect_path, PIXEL_PATH):
            self._reception.answered(response.status)
        response.headers.popall("Server", None)
        response.headers["X-Content-Type-Options"] = "nosniff"
        if request.path == self._config.server.collect_path:
            response.headers.update(self._reception.origins.headers(request.headers.get("Origin")))

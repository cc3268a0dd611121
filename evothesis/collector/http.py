"""HTTP: the public listener. Reads a request, asks the steps, answers; the only file that knows status codes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from aiohttp import web

from evothesis import heartbeat
from evothesis.collector import intake
from evothesis.collector.commit import Committer
from evothesis.collector.decode import BODY_BYTES_MAX, EnvelopeError
from evothesis.collector.limits import Limiter, address_prefix
from evothesis.collector.parse import site_of
from evothesis.collector.script import Script
from evothesis.config import Config
from evothesis.errors import SpoolError
from evothesis.event import encode_entry

log = logging.getLogger(__name__)

BODY_SECONDS_MAX = 10  # for the whole body, so that a drip cannot hold a connection
RETRY_AFTER_SECONDS = 5
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")

_encode = msgspec.json.Encoder().encode


class Collector:
    """The routes and what they share."""

    def __init__(self, config: Config, committer: Committer, *, salt: bytes) -> None:
        """`salt` hides addresses when [privacy] ip is "hash"; it never leaves the memory."""
        self._config = config
        self._committer = committer
        self._salt = salt
        self._per_address = Limiter(config.limits.per_address)
        self._per_site = Limiter(config.limits.per_site)
        self._proxies = [ipaddress.ip_network(proxy) for proxy in config.server.proxies]
        self._script = Script.load(script_path=config.server.script_path, collect_path=config.server.collect_path)

    def application(self) -> web.Application:
        """The routes of the public listener."""
        application = web.Application(middlewares=[_answers_errors], client_max_size=BODY_BYTES_MAX)
        application.on_response_prepare.append(_finish)
        collect = application.router.add_resource(self._config.server.collect_path)
        collect.add_route("POST", self.collect)
        collect.add_route("OPTIONS", self.preflight)
        for path in (self._script.path, self._script.hashed_path):
            application.router.add_get(path, self._script.answer)
        application.router.add_get("/pixel.gif", self.pixel)
        application.router.add_get("/health", self.health)
        return application

    async def collect(self, request: web.Request) -> web.Response:
        """POST of an event or a batch; answered when everything accepted is on disk."""
        peer = self._peer(request)
        page = _page(request)
        self._refuse_excess(peer, page)
        if request.content_type not in ("application/json", "text/plain"):
            raise EnvelopeError(415, "content_type_unsupported", "Content-Type may be application/json or text/plain")
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                body = await request.read()
        except TimeoutError as error:
            raise EnvelopeError(408, "body_too_slow", f"the body took over {BODY_SECONDS_MAX} s") from error
        taken = intake.take(self._request(request, body, peer, page), self._config.privacy, salt=self._salt)
        await self._keep(taken)
        return web.Response(body=_encode(taken.answer), content_type="application/json", headers=_CORS)

    async def preflight(self, _request: web.Request) -> web.Response:
        """OPTIONS, which browsers send before a body that is not plain text."""
        headers = {**_CORS, "Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "86400"}
        return web.Response(
            status=204, headers={**headers, "Access-Control-Allow-Headers": "Content-Type, Content-Encoding"}
        )

    async def pixel(self, request: web.Request) -> web.Response:
        """GET of the image that counts a page view without JavaScript."""
        peer = self._peer(request)
        page = _header(request, "Referer")
        self._refuse_excess(peer, page)
        event = {"eventType": "pageview", "url": request.query.get("url") or page, "data": {"pixel": True}}
        if site := request.query.get("site"):
            event["siteId"] = site
        document = {name: value for name, value in event.items() if value is not None}
        # no one can see two views of one page by one client apart but by their time
        document["timestamp"] = datetime.now(UTC).isoformat()
        asked = self._request(request, _encode(document), peer, page)._replace(encoding="")
        await self._keep(intake.take(asked, self._config.privacy, salt=self._salt))
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
                "reason": loader.database_error if loader else "the loader was not seen",
            },
        }
        return web.Response(
            status=503 if trouble else 200,
            body=_encode(report),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    def _request(self, request: web.Request, body: bytes, peer: str | None, page: str | None) -> intake.Request:
        headers = request.headers
        return intake.Request(
            received_at=datetime.now(UTC),
            body=body,
            encoding=headers.get("Content-Encoding", "").lower(),
            peer=peer,
            user_agent=_header(request, "User-Agent"),
            page=page,
            refuses=headers.get("DNT") == "1" or headers.get("Sec-GPC") == "1",
        )

    async def _keep(self, taken: intake.Taken) -> None:
        entry = taken.entry
        if entry.rows or entry.rejected or entry.withheld:
            rows = len(entry.rows) + len(entry.rejected)
            await self._committer.append(encode_entry(entry), rows, entry.received_at)

    def _refuse_excess(self, peer: str | None, page: str | None) -> None:
        limits = self._config.limits
        if not (limits.per_address or limits.per_site):
            return
        now = time.monotonic()
        wait = max(
            self._per_address.wait_seconds(address_prefix(peer), now), self._per_site.wait_seconds(site_of(page), now)
        )
        if wait:
            raise EnvelopeError(429, "too_many_requests", "more requests than are taken from one client or site")

    def _peer(self, request: web.Request) -> str | None:
        """The client's address: the connection's, or the last one in X-Forwarded-For that is no proxy of ours."""
        peer = request.remote
        if not self._proxies:
            return peer
        forwarded = [part.strip() for line in request.headers.getall("X-Forwarded-For", ()) for part in line.split(",")]
        while peer and forwarded and self._is_proxy(peer):
            peer = forwarded.pop()
        return peer

    def _is_proxy(self, peer: str) -> bool:
        try:
            ip = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(ip in network for network in self._proxies)


# no credentials, ever: any origin may send, none may read anything but its own receipt
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def _page(request: web.Request) -> str | None:
    origin = _header(request, "Origin")
    return origin if origin and origin != "null" else _header(request, "Referer")


def _header(request: web.Request, name: str) -> str | None:
    """A header as text that can be stored: bytes that are not UTF-8 arrive as lone surrogates."""
    value = request.headers.get(name)
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd") if value else None


@web.middleware
async def _answers_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except EnvelopeError as error:
        return _error(error.status, error.code, error.message)
    except SpoolError as error:
        return _error(503, "not_accepting", str(type(error).__doc__))
    except web.HTTPException as error:
        code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(error.status, "refused")
        response = _error(error.status, code, error.reason)
        if allow := error.headers.get("Allow"):
            response.headers["Allow"] = allow
        return response
    except (ConnectionError, web.RequestPayloadError):
        return _error(400, "body_incomplete", "the body ended too early")
    except Exception:
        log.exception("Request failed.")
        return _error(503, "failed", "the request could not be handled")


def _error(status: int, code: str, message: str) -> web.Response:
    body = _encode({"error": {"code": code, "message": message}})
    response = web.Response(status=status, body=body, content_type="application/json", headers=_CORS)
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status in (408, 413):
        response.force_close()  # the rest of the body is not read
    return response


async def _finish(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"

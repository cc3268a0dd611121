"""HTTP: the operator's listener. Reads only; every route but /health wants the bearer token."""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from http import HTTPStatus

import msgspec
import psycopg
from aiohttp import web
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from evothesis import heartbeat
from evothesis.admin.recent import recent_events
from evothesis.config import Config
from evothesis.pg import pool
from evothesis.spool.segments import backlog, sealed

log = logging.getLogger(__name__)

RECENT_MAX = 1_000
RECENT_DEFAULT = 100

COUNT = """
-- the ledger has every stored event, also those whose partitions are gone
select coalesce(sum(accepted), 0)::bigint as total, coalesce(sum(duplicate), 0)::bigint as duplicate,
       coalesce(sum(rejected), 0)::bigint as rejected, coalesce(sum(withheld), 0)::bigint as withheld
  from usage_ledger
"""

_POOL = web.AppKey("pool", AsyncConnectionPool)
_CONFIG = web.AppKey("config", Config)


def admin_application(config: Config, url: str) -> web.Application:
    """The routes of the operator's listener."""

    async def database(application: web.Application) -> AsyncIterator[None]:
        async with pool(url, name="admin") as connections:
            application[_POOL] = connections
            yield

    application = web.Application(middlewares=[_answers_errors, _authenticates], client_max_size=65_536)
    application[_CONFIG] = config
    application.cleanup_ctx.append(database)
    application.on_response_prepare.append(_finish)
    application.router.add_get("/health", _health)
    application.router.add_get("/events/count", _count)
    application.router.add_get("/events/recent", _recent)
    return application


async def _health(request: web.Request) -> web.Response:
    spool = request.app[_CONFIG].spool
    beat = heartbeat.read(spool.path)
    age = round(time.time() - beat.at, 1) if beat else None
    reasons = [
        "the loader is not running" if age is None or age > heartbeat.STALE_AFTER_SECONDS else None,
        beat.database_error if beat else None,
        beat.spool_error if beat else None,
    ]
    report = {
        "status": "degraded" if any(reasons) else "ok",
        "reasons": [reason for reason in reasons if reason],
        "spool": {
            "bytes": backlog(spool.path).size_bytes,
            "bytes_max": spool.bytes_max,
            "waiting_segments": len(sealed(spool.path)),
        },
        "loader": {"seen_seconds_ago": age},
        "sites_over_budget": beat.sites_over_budget if beat else (),
    }
    return _json(msgspec.json.encode(report), status=503 if any(reasons) else 200)


async def _count(request: web.Request) -> web.Response:
    async with request.app[_POOL].connection() as connection:
        row = await (await connection.execute(COUNT)).fetchone()
    return _json(msgspec.json.encode(row))


async def _recent(request: web.Request) -> web.Response:
    text = request.query.get("limit", str(RECENT_DEFAULT))
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= RECENT_MAX:
        return _error(400, "limit_invalid", f"limit must be a number from 1 to {RECENT_MAX}")
    return _json(await recent_events(request.app[_POOL], limit=int(text)))


@web.middleware
async def _authenticates(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.path == "/health":
        return await handler(request)
    token = request.app[_CONFIG].admin.token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if not token:
        return _error(401, "unauthorized", "no token is set: set admin.token in the configuration")
    # digests have one length, so that the comparison tells nothing about the token's
    is_right = hmac.compare_digest(
        sha256(given.strip().encode(errors="replace")).digest(), sha256(token.encode()).digest()
    )
    if scheme.lower() != "bearer" or not is_right:
        return _error(401, "unauthorized", "a bearer token is needed")
    return await handler(request)


@web.middleware
async def _answers_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error(error.status, "not_found" if error.status == HTTPStatus.NOT_FOUND else "refused", error.reason)
    except (psycopg.OperationalError, PoolTimeout):
        return _error(503, "database_unreachable", "the database does not answer, /health says why; try again")
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return _error(503, "schema_outdated", "the schema is not up to date yet, /health says why; try again")
    except Exception:
        log.exception("Request failed.")
        return _error(503, "failed", "the request could not be handled")


def _json(body: bytes, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _error(status: int, code: str, message: str) -> web.Response:
    response = _json(msgspec.json.encode({"error": {"code": code, "message": message}}), status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _finish(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    response.headers["X-Content-Type-Options"] = "nosniff"

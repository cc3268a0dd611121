"""HTTP: the operator's listener. Nothing is answered without a route, and a right to it, in the table of `routes`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import psycopg
from aiohttp import WSCloseCode, web
from psycopg_pool import PoolTimeout

from evothesis.admin import settings
from evothesis.admin.access import AccessError
from evothesis.admin.desk import Asked, Desk, answer
from evothesis.admin.exports import Exports
from evothesis.admin.query import QueryError
from evothesis.admin.requests import Requests
from evothesis.admin.route import Route
from evothesis.admin.routes import ROUTES
from evothesis.config import Config
from evothesis.errors import EvothesisError
from evothesis.numbers import Board
from evothesis.pg import pool

log = logging.getLogger(__name__)

ANYBODY = "(anybody)"
RETRY_AFTER_SECONDS = {429: 1, 503: 5}

_CODES = {404: "not_found", 405: "method_not_allowed"}
_TROUBLE: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    ((psycopg.errors.QueryCanceled,), "query_too_slow", "this took too long; ask for less"),
    (
        (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn),
        "schema_outdated",
        "the schema is not up to date yet, /health says why; try again",
    ),
    (
        (psycopg.OperationalError, PoolTimeout, EvothesisError),
        "database_unreachable",
        "the database does not answer, /health says why; try again",
    ),
)

_DESK = web.AppKey("desk", Desk)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def admin_application(config: Config, url: str, board: Board, *, config_path: Path | None = None) -> web.Application:
    """The routes of the operator's listener; exports are started with the configuration at `config_path`."""
    command = [sys.executable, "-m", "evothesis", "export", "run"]
    command += ["--config", str(config_path)] if config_path else []

    async def opened(application: web.Application) -> AsyncIterator[None]:
        async with pool(url, name="admin") as connections:
            wanted = config.export.request_path
            exports = Requests(Path(wanted)) if wanted else Exports(command)
            desk = application[_DESK] = Desk(config, url, connections, board, exports)
            kept = [asyncio.create_task(desk.history.keep()), asyncio.create_task(settings.record(config, connections))]
            yield
            for task in kept:
                task.cancel()
            await exports.close()

    application = web.Application(middlewares=[_answers_errors], client_max_size=65_536)
    application.cleanup_ctx.append(opened)
    application.on_response_prepare.append(_finish)
    application.on_shutdown.append(_hang_up)
    for route in ROUTES:
        add = application.router.add_get if route.method == "GET" else application.router.add_post
        add(route.path, _demanding(route))
    return application


def _demanding(route: Route) -> _Handler:
    """The route's handler, for those who may."""

    async def handle(request: web.Request) -> web.StreamResponse:
        desk = request.app[_DESK]

        async def demand() -> str:
            if route.scope is None:
                return ANYBODY
            return (await desk.access.demand(request, desk.connections, route.scope)).name

        return await route.handle(Asked(desk, request, await demand(), demand))

    return handle


@web.middleware
async def _answers_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        try:
            return await handler(request)
        except web.HTTPException as error:
            # what there is not is told to nobody without a token either
            desk = request.app[_DESK]
            await desk.access.demand(request, desk.connections, None)
            return _error(error.status, _CODES.get(error.status, "refused"), error.reason)
    except AccessError as error:
        return _error(error.status, error.code, str(error))
    except QueryError as error:
        return _error(400, error.code, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, nobody is told more than that it failed
        return _error(503, *_trouble(error))


def _trouble(error: Exception) -> tuple[str, str]:
    """The word for what went wrong here, and what to do about it."""
    for kinds, code, message in _TROUBLE:
        if isinstance(error, kinds):
            return code, message
    log.error("Request failed.", exc_info=error)
    return "failed", "the request could not be handled"


def _error(status: int, code: str, message: str) -> web.Response:
    response = answer({"error": {"code": code, "message": message}}, status=status)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in RETRY_AFTER_SECONDS:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS[status])
    return response


async def _hang_up(application: web.Application) -> None:
    sockets = list(application[_DESK].sockets)
    await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in sockets))


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
    if request.headers.get("X-Forwarded-Proto") == "https":  # over HTTP it means nothing: RFC 6797, 8.1
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers["X-Content-Type-Options"] = "nosniff"

"""Demo: a shop and its diary with the tag on their pages, and what the server stored of a visit beside them.

Both are served alike under two names of this machine, which are two domains to a browser.
"""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import psycopg
from aiohttp import web
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from evothesis.admin.recent import Wanted, recent_events
from evothesis.pg import pool

PAGES = Path(str(files("evothesis").joinpath("static", "demo")))
EVENTS_SHOWN_MAX = 50

_POOL = web.AppKey("pool", AsyncConnectionPool)


def demo_application(url: str, *, collector: str, port: int) -> web.Application:
    """The pages, with origins put into their tags and links, and `GET /recent` for their live panel."""
    application = web.Application()
    origins = {"collector": collector, "shop": f"http://127.0.0.1:{port}", "diary": f"http://localhost:{port}"}
    pages = {file.name: _filled(file.read_bytes(), origins) for file in PAGES.iterdir()}

    async def database(application: web.Application) -> AsyncIterator[None]:
        async with pool(url, name="demo") as connections:
            application[_POOL] = connections
            yield

    async def page(request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        if name not in pages:
            raise web.HTTPNotFound
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return web.Response(body=pages[name], content_type=kind, charset="utf-8", headers={"Cache-Control": "no-store"})

    async def recent(request: web.Request) -> web.Response:
        try:
            body = await recent_events(request.app[_POOL], Wanted(EVENTS_SHOWN_MAX))
        except (psycopg.Error, PoolTimeout) as error:  # it is away, or has no tables yet
            raise web.HTTPServiceUnavailable from error
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    application.cleanup_ctx.append(database)
    application.router.add_get("/recent", recent)
    application.router.add_get("/{name:.*}", page)
    return application


def _filled(page: bytes, origins: dict[str, str]) -> bytes:
    for name, origin in origins.items():
        page = page.replace(b"{{%s}}" % name.encode(), origin.encode())
    return page

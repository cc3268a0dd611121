"""Demo: a shop with the tag on its pages, and what the server stored of a visit beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from aiohttp import web
from psycopg_pool import AsyncConnectionPool

from evothesis.admin.recent import recent_events
from evothesis.pg import pool

PAGES = Path(str(files("evothesis").joinpath("static", "demo")))
EVENTS_SHOWN_MAX = 50

_POOL = web.AppKey("pool", AsyncConnectionPool)


def demo_application(url: str, collector: str) -> web.Application:
    """The pages, with `collector` (an origin) put into their tags, and `GET /recent` for their live panel."""
    application = web.Application()

    async def database(application: web.Application) -> AsyncIterator[None]:
        async with pool(url, name="demo") as connections:
            application[_POOL] = connections
            yield

    async def page(request: web.Request) -> web.StreamResponse:
        file = (PAGES / (request.match_info["name"] or "index.html")).resolve()
        if not file.is_relative_to(PAGES.resolve()) or not file.is_file():
            raise web.HTTPNotFound
        if file.suffix != ".html":
            return web.FileResponse(file)
        text = file.read_text(encoding="utf-8").replace("{{collector}}", collector)
        return web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def recent(request: web.Request) -> web.Response:
        body = await recent_events(request.app[_POOL], limit=EVENTS_SHOWN_MAX)
        return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})

    application.cleanup_ctx.append(database)
    application.router.add_get("/recent", recent)
    application.router.add_get("/{name:.*}", page)
    return application

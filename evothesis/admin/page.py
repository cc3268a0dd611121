"""Page: the operator's page, in files that editors and checks understand, in; one document that loads nothing else out.

It is for anybody, and holds no data: it asks for a token, and with it asks the API as every other program does.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from aiohttp import web

from evothesis.admin.desk import Asked
from evothesis.admin.query import Query, parse
from evothesis.collector.script import joined, parts

STYLE, SCRIPT = '<link rel="stylesheet" href="page.css">', '<script type="module" src="page.js"></script>'
SOURCE = Path(str(files("evothesis").joinpath("static", "operator")))


async def page(asked: Asked) -> web.Response:
    """The operator's page, for a browser."""
    parse(asked.request, Query)
    body, policy = document()
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(text=body, content_type="text/html", headers=headers)


@cache
def document() -> tuple[str, str]:
    """The page, and the policy by which a browser runs nothing but it, and lets it speak to this listener alone."""
    style = (SOURCE / "page.css").read_text(encoding="utf-8")
    script = joined(parts(SOURCE / "page.js"))
    body = (SOURCE / "index.html").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'",
        f"script-src {_digest(script)}",
        f"style-src {_digest(style)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    body = body.replace(STYLE, f"<style>{style}</style>").replace(SCRIPT, f"<script>{script}</script>")
    return body, "; ".join(policy)


def _digest(text: str) -> str:
    """As a policy names what stands between two tags: https://www.w3.org/TR/CSP3/#match-element-to-source-list."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

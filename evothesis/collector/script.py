"""Script: the tracker's file in, everything that a browser may ask of it out."""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib.resources import files
from typing import Self

import brotli  # type: ignore[import-untyped]  # it has no stubs
import rjsmin  # type: ignore[import-untyped]  # it has no stubs
from aiohttp import web

# the plain name changes its content with an upgrade: a browser asks again after an hour, and is mostly told 304
PLAIN_CACHE = "public, max-age=3600"
HASHED_CACHE = "public, max-age=31536000, immutable"


class Script:
    """tracking.js as this server publishes it: its paths, its integrity, its encodings."""

    def __init__(self, source: bytes, *, script_path: str, collect_path: str) -> None:
        """Take the comments out of the source, put the configured path into it; compress once."""
        smaller = rjsmin.jsmin(source.decode())  # without comments and indentation; names stay as they are written
        self._plain = smaller.replace("'/collect'", f"'{collect_path}'").encode()
        digest = hashlib.sha384(self._plain).digest()
        self.integrity = "sha384-" + base64.b64encode(digest).decode()
        self.path = script_path
        stem = script_path.removesuffix(".js")
        self.hashed_path = f"{stem}.{digest.hex()[:16]}.js"
        self._etag = digest.hex()[:32]
        self._encoded = {
            "br": brotli.compress(self._plain, quality=11),
            "gzip": gzip.compress(self._plain, 9, mtime=0),
        }

    @classmethod
    def load(cls, *, script_path: str, collect_path: str) -> Self:
        """The tracker of this package."""
        source = files("evothesis").joinpath("static", "tracking.js").read_bytes()
        return cls(source, script_path=script_path, collect_path=collect_path)

    async def answer(self, request: web.Request) -> web.Response:
        """GET of either path."""
        headers = {
            "Cache-Control": HASHED_CACHE if request.path == self.hashed_path else PLAIN_CACHE,
            "Vary": "Accept-Encoding",
            "Access-Control-Allow-Origin": "*",  # a tag with integrity is fetched with CORS
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        encoding = next((name for name in self._encoded if name in _accepted(request)), None)
        etag = f"{self._etag}-{encoding}" if encoding else self._etag  # each representation has its own, RFC 9110 8.8.3
        headers["ETag"] = f'"{etag}"'
        if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        if encoding:
            headers["Content-Encoding"] = encoding
        body = self._encoded[encoding] if encoding else self._plain
        return web.Response(body=body, headers=headers, content_type="text/javascript", charset="utf-8")


def _accepted(request: web.Request) -> set[str]:
    """The codings that a browser wants; a quality of 0 is a refusal, RFC 9110 12.5.3."""
    parts = (part.partition(";") for part in request.headers.get("Accept-Encoding", "").lower().split(","))
    return {
        coding.strip() for coding, _, quality in parts if quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.000")
    }

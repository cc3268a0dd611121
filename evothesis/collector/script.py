"""Script: the tracker's files in, everything that a browser may ask of them out.

The files are ES modules, so that an editor and the checks understand them as they are; what is served is one script:
they stand in one scope, in the order of their imports.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Self

import brotli  # type: ignore[import-untyped]  # it has no stubs
from aiohttp import web

SOURCE = Path(str(files("evothesis").joinpath("static", "tracking.js")))

# the plain name changes its content with an upgrade: a browser asks again after an hour, and is mostly told 304
PLAIN_CACHE = "public, max-age=3600"
HASHED_CACHE = "public, max-age=31536000, immutable"

_IMPORT = re.compile(r"^import \{[^}]*\} from '([\w./]+)';\n", re.MULTILINE)
_NUMBER = re.compile(r"^const ([A-Z_]+) = ([0-9_]+);.*\n", re.MULTILINE)
_MINIFY = "import minify, sys; sys.stdout.write(minify.string('text/javascript', sys.stdin.read()))"


@cache
def tracker() -> str:
    """The tracker as one script, in few bytes."""
    return minified(joined(parts()))


def minified(code: str) -> str:
    """The same with short names, and no comments.

    The minifier is a program in Go: here it would start threads, which neither survive a fork nor end.
    """
    command = [sys.executable, "-P", "-X", "utf8", "-c", _MINIFY]
    return subprocess.run(command, input=code, check=True, capture_output=True, encoding="utf-8").stdout


def parts(source: Path = SOURCE) -> dict[str, str]:
    """The code of each file by its name, behind those that it imports."""
    text = source.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for name in _IMPORT.findall(text):
        found |= {part: code for part, code in parts(source.parent / name).items() if part not in found}
    return found | {source.name: re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)}


def joined(codes: dict[str, str]) -> str:
    """Files in one scope. What the checks have seen to be constant need not be said to browsers.

    What is taken apart stays `const`: the minifier puts it first among its like, before what it may be taken from.
    """
    code = "".join(codes.values())
    for name, number in _NUMBER.findall(code):
        code = re.sub(rf"\b{name}\b", number, re.sub(rf"^const {name} = .*\n", "", code, flags=re.MULTILINE))
    code = re.sub(r"^( *)const (?=\w)", r"\1let ", code, flags=re.MULTILINE)
    return f"(() => {{\n{code}}})();\n"


class Script:
    """tracking.js as this server publishes it: its paths, its integrity, its encodings."""

    def __init__(self, tracker: str, *, script_path: str, collect_path: str) -> None:
        """Put the configured path into the tracker, compress it once."""
        self._plain = tracker.replace('"/collect"', f'"{collect_path}"').encode()
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
        return cls(tracker(), script_path=script_path, collect_path=collect_path)

    def plain_tag(self, origin: str) -> str:
        """The tag of a page that wants whatever version is served, as HTML."""
        return f'<script async src="{html.escape(origin + self.path)}"></script>'

    def tag(self, origin: str) -> str:
        """The tag of a page that wants this version and no other, as HTML; `origin` is where this server is reached.

        The hash is that of the content with this server's paths in it: another configuration has another one. A
        browser checks it only of what it fetches with CORS (https://www.w3.org/TR/SRI/).
        """
        source = html.escape(origin + self.hashed_path)
        return f'<script async src="{source}" integrity="{self.integrity}" crossorigin="anonymous"></script>'

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

"""Tag: where browsers reach the collector in, what stands on every page out."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from evothesis.admin.desk import Asked, answer
from evothesis.admin.query import Query, parse
from evothesis.collector.script import Script
from evothesis.setting import PublicUrl

NOWHERE = "https://HOST"


class TagQuery(Query, frozen=True):
    """`origin` is where browsers reach the collector; without it server.public_url, else a word to be replaced."""

    origin: Annotated[PublicUrl, Meta(min_length=1)] | None = None


class Tag(msgspec.Struct):
    """The tag that stays right through upgrades, and the one of this version alone, which browsers check."""

    origin: str
    tag: str
    tag_of_version: str
    integrity: str


async def tag(asked: Asked) -> web.Response:
    """The tag to paste, also with the hash of the script that is served now."""
    query = parse(asked.request, TagQuery)
    server = asked.desk.config.server
    origin = query.origin or server.public_url or NOWHERE
    # in a thread: where no collector runs beside this process, the script is joined and minified here
    script = await asyncio.to_thread(_script, server.script_path, server.collect_path)
    return answer(Tag(origin, script.plain_tag(origin), script.tag(origin), script.integrity))


@cache
def _script(script_path: str, collect_path: str) -> Script:
    return Script.load(script_path=script_path, collect_path=collect_path)

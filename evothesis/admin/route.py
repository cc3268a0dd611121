"""Route: what is known of one way to ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web

from evothesis.admin.desk import Asked
from evothesis.admin.query import Query
from evothesis.admin.tokens import Scope

Handle = Callable[[Asked], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """A way to ask. `scope` None is for anybody; `query` are its parameters, `answer` the shape of its JSON."""

    method: str
    path: str
    scope: Scope | None
    handle: Handle
    query: type[Query] = Query
    answer: Any = dict[str, Any]
    statuses: tuple[int, ...] = (200,)  # of answers that are what was asked for
    content_type: str = "application/json"

    @property
    def summary(self) -> str:
        """What it is for."""
        return (self.handle.__doc__ or "").partition("\n")[0]

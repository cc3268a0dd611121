"""Allowed: lists of sites and origins in; who is on one, and what browsers are told of it (CORS), out. Pure.

No credentials, ever: whatever the origin, a page may read nothing but its own receipt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from evothesis.collector.decode import EnvelopeError

_READABLE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class Allowed:
    """Names, and with `*.` before them all their subdomains at any depth; an empty list allows everything."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Compile it."""
        self.is_everything = not names
        self._names = frozenset(name for name in names if "*" not in name)
        patterns = [re.escape(name).replace(r"\*", "[a-z0-9._-]+") for name in names if "*" in name]
        self._subdomains = re.compile("|".join(patterns) or r"(?!)")

    def has(self, name: str) -> bool:
        """Whether it is on the list, letter by letter."""
        return self.is_everything or name in self._names or self._subdomains.fullmatch(name) is not None


class Origins:
    """Which pages may send: [server] origins."""

    def __init__(self, names: Sequence[str]) -> None:
        """Each is what a browser says: scheme, host and, if it is not the usual one, port."""
        self._allowed = Allowed(names)

    def answered(self, origin: str | None) -> str | None:
        """The origin that the answer names, None when it names none."""
        if self._allowed.is_everything:
            return "*"
        return origin if origin and self._allowed.has(origin) else None

    def demand(self, origin: str | None) -> None:
        """Raises EnvelopeError for a page that may not send. Who is no page says no origin, and may."""
        if origin and not self.answered(origin):
            raise EnvelopeError(403, "origin_not_allowed", "events of this page's origin are not taken")

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """What stands in every answer to a page of that origin."""
        answered = self.answered(origin)
        if answered == "*":
            return _READABLE
        return {"Vary": "Origin"} | (_READABLE | {"Access-Control-Allow-Origin": answered} if answered else {})

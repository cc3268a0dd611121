"""Bots: a user agent in, the reason for which it is taken for a program's out.

The list is that of https://github.com/monperrus/crawler-user-agents: crawlers, monitors, libraries and browsers without
a screen. It takes case as it is written.
"""

from __future__ import annotations

from functools import lru_cache

import re2  # type: ignore[import-untyped]  # it has no stubs

NO_AGENT = "no user agent"  # every browser sends one
_AUTOMATON_BYTES_MAX = 2**23  # what matching may remember; more is slower to fill with what strangers make up


class Bots:
    """All patterns as one."""

    def __init__(self) -> None:
        """Read them, and compile them."""
        from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]  # nor has it any

        self._patterns = [str(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA]
        options = re2.Options()
        options.max_mem = _AUTOMATON_BYTES_MAX
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for pattern in self._patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def reason(self, agent: str | None) -> str | None:
        """The first pattern of the list that the agent fits; None for what may be a person's."""
        if not agent:
            return NO_AGENT
        found = self._set.Match(agent)
        return self._patterns[min(found)] if found else None


bots = lru_cache(Bots)  # whatever is configured beside them

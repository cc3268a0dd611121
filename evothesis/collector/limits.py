"""Limits: token buckets by key, in bounded memory. The clock is an argument."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

KEYS_MAX = 100_000  # the longest untouched is forgotten first: a full bucket in waiting, so that nobody gains by it
BURST_SECONDS = 2


class Limiter:
    """At most `rate` requests a second for each key, with bursts of two seconds' worth."""

    def __init__(self, rate: int) -> None:
        """`rate` 0 refuses nobody."""
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, key: str | None, now: float) -> float:
        """0 when the request may pass, else the seconds until one may. `now` is monotonic, in seconds."""
        if key is None or not self._rate:
            return 0
        burst = self._rate * BURST_SECONDS
        tokens, then = self._buckets.pop(key, (burst, now))
        tokens = min(burst, tokens + (now - then) * self._rate)
        passes = tokens >= 1
        self._buckets[key] = (tokens - 1 if passes else tokens, now)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)
        return 0 if passes else (1 - tokens) / self._rate


def address_prefix(peer: str | None) -> str | None:
    """The key of a client: its IPv4 address, or the /64 that one household or server has in IPv6."""
    if peer is None or ":" not in peer:
        return peer
    try:
        ip = ipaddress.IPv6Address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(ip.ipv4_mapped) if ip.ipv4_mapped else ip.packed[:8].hex()

"""Limits: how often one client or one site may come. The clock is an argument.

The buckets lie in memory that processes share which were forked after it was made: a rate holds for all collectors of
an appliance together, whichever of them the kernel gives a connection to. There is a fixed number of them, so that ten
million clients take no more memory than one, and nobody is forgotten in favour of somebody else.
"""

from __future__ import annotations

import mmap
import socket

BURST_SECONDS = 2
# 2 MiB. 30,000 requests a second by clients who are all at a limit of 50 would trouble one honest client in 48,000.
BUCKETS = 2**18
_LAST = BUCKETS - 1
_ROUNDING_SECONDS = 1e-6  # what many small sums may be off
_IPV4_MAPPED = bytes(10) + b"\xff\xff"


class Limiter:
    """At most `rate` requests a second for each key, with bursts of two seconds' worth.

    A bucket is the moment at which it will be full again. Keys share buckets; each has two, and goes by the fuller one,
    so that only somebody who shares both with others at their limit would feel it. Which ones is anybody's guess:
    Python's hash of a text is keyed with a secret of the process, which it shares with those that it forks.
    """

    def __init__(self, rate: int) -> None:
        """`rate` 0 refuses nobody."""
        self.rate = rate
        self._full_at = memoryview(mmap.mmap(-1, BUCKETS * 8)).cast("d") if rate else None

    def takes(self, key: str | None, now: float) -> bool:
        """Whether a request may pass; one that may not can after a second. `now` is monotonic, in seconds."""
        if key is None or self._full_at is None:
            return True
        digest = hash(key)
        one, other = digest & _LAST, digest >> 24 & _LAST
        # two processes at once may each overlook the other's request: a rate is off by less than anyone can use
        full_at = max(min(self._full_at[one], self._full_at[other]), now) + 1 / self.rate
        if full_at - now > BURST_SECONDS + _ROUNDING_SECONDS:
            return False
        self._full_at[one] = max(self._full_at[one], full_at)
        self._full_at[other] = max(self._full_at[other], full_at)
        return True

    def refuses(self, key: str | None, now: float) -> bool:
        """What `takes` would say no to; nothing is counted."""
        if key is None or self._full_at is None:
            return False
        digest = hash(key)
        full_at = min(self._full_at[digest & _LAST], self._full_at[digest >> 24 & _LAST])
        return max(full_at, now) + 1 / self.rate - now > BURST_SECONDS + _ROUNDING_SECONDS


def address_prefix(peer: str | None) -> str | None:
    """The key of a client: its IPv4 address, or the /64 that one household or server has in IPv6."""
    if peer is None or ":" not in peer:
        return peer
    try:
        packed = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    except (OSError, ValueError):
        return peer
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed.startswith(_IPV4_MAPPED) else packed[:8].hex()

"""Day key: what addresses are hashed with for one UTC day. In memory only; the clock is an argument."""

from __future__ import annotations

import hmac
from datetime import date, timedelta

from evothesis.collector.privacy.addresses import address

KEY_BYTES = 32
_ONE_DAY = timedelta(days=1)


class DayKey:
    """A key for each day, made of that of the day before by a step that nobody can take backwards.

    Processes that have the key of one day agree on those that follow without a word. Whoever reads their memory can
    hash addresses of today and later, never of a day that is over.
    """

    def __init__(self, key: bytes, day: date) -> None:
        """`key` is random, and that of `day`."""
        self._key = bytearray(key)
        self._day = day

    def of(self, day: date) -> bytes:
        """The key of `day`; when a clock was set back, that of the latest day there was. The others are forgotten."""
        if self._day < day:
            while self._day < day:
                self._key[:] = hmac.digest(self._key, b"the next day", "sha256")
                self._day += _ONE_DAY
            address.cache_clear()  # it knows addresses by their hash
        return bytes(self._key)

    def forget(self) -> None:
        """Overwrite the key, in a process that was forked with it and has no use for it."""
        self._key[:] = bytes(len(self._key))

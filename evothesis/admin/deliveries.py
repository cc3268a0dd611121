"""Deliveries: how far the destinations are, as the database said a moment ago."""

from __future__ import annotations

import time

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from evothesis.pg import Connections

DELIVERIES_SECONDS = 5.0  # for which what was found holds: anybody may ask
DELIVERIES = """
select name, failures, extract(epoch from now() - succeeded_at)::bigint as succeeded_seconds_ago
  from destinations where name = any(%(names)s) order by name
"""


class Delivery(msgspec.Struct):
    """A destination: how many runs in a row failed, and how long ago one did not; `/export/status` tells why."""

    destination: str
    failures: int
    succeeded_seconds_ago: int | None


class Deliveries:
    """How far the destinations are, as it was found a moment ago."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._found: list[Delivery] | None = None
        self._asked_at = float("-inf")

    async def of(self, names: list[str], connections: Connections) -> list[Delivery] | None:
        """Those that were delivered to; None while the database does not answer."""
        if time.monotonic() - self._asked_at >= DELIVERIES_SECONDS:
            self._asked_at = time.monotonic()
            self._found = None
            try:
                async with connections.connection(timeout=1) as connection:
                    rows = await (await connection.execute(DELIVERIES, {"names": names})).fetchall()
            except (psycopg.Error, PoolTimeout):
                return None
            self._found = [Delivery(row["name"], row["failures"], row["succeeded_seconds_ago"]) for row in rows]
        return self._found

"""Asking: a database that tests ask again and again, of a server that may be another one than before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

CONNECT_SECONDS_MAX = 5

Parameters = Mapping[str, Any] | Sequence[Any]


class Asking:
    """A connection that stays: who waits for an event asks fifty times a second."""

    def __init__(self, dsn: str) -> None:
        """Nothing is connected yet."""
        self._dsn = dsn
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, query: LiteralString, params: Parameters | None = None) -> list[dict[str, Any]]:
        """What the database answers; once it is connected anew, if the connection has ended since."""
        try:
            return self._connected().execute(query, params).fetchall()
        except psycopg.OperationalError:
            if self._connection is None or not self._connection.closed:
                raise  # nobody answers at all, or somebody did, and refused
        return self._connected().execute(query, params).fetchall()

    def close(self) -> None:
        """Let go; who asks after this connects again."""
        if self._connection:
            self._connection.close()

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=CONNECT_SECONDS_MAX,
                options="-c timezone=UTC",
                prepare_threshold=None,  # tables change between two questions
            )
        return self._connection

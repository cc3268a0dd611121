"""PostgreSQL connections: one place for their settings and for what their failures mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.sql import Composed
from psycopg_pool import AsyncConnectionPool

from evothesis.errors import ConfigurationError, UnreachableError

CONNECT_TIMEOUT_SECONDS = 5
WAIT_SECONDS = 0.1  # how often one who waits for PostgreSQL looks up
LOCK_SECONDS_MAX = 2

# why a server that answers refuses a connection for now; a failed connection has no SQLSTATE in psycopg
_PASSING = (
    "the database system is",  # starting up, shutting down, in recovery mode
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "terminating connection",
)

# class 08: connection, 53: resources, 57: operator (shutting down, starting up), 58: system; 25006: read-only,
# 40: serialisation and deadlocks. All pass by themselves (https://www.postgresql.org/docs/current/errcodes-appendix.html)
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
_TRANSIENT_CODES = frozenset({"25006"})

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[DictRow]
Connections = AsyncConnectionPool[AsyncConnection]

# the last three: a client that is gone without a word keeps its locks no longer than it takes us to come back
_OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=on -c jit=off"
    " -c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
READ_TIMEOUT_MILLISECONDS = 10_000  # a curious person's query must not hold the database
POOL_SIZE_MAX = 4
_READ_OPTIONS = f"-c default_transaction_read_only=on -c statement_timeout={READ_TIMEOUT_MILLISECONDS}"


class Connection(psycopg.Connection[DictRow]):
    """A connection whose user may say that it lives while PostgreSQL keeps it waiting: for a lock, for a migration."""

    meanwhile: Callable[[float], object] | None = None  # is told again and again for how many seconds

    def wait(self, gen: PQGen[T], interval: float = WAIT_SECONDS, timeout: float | None = None) -> T:
        """Wait for PostgreSQL."""
        return super().wait(self._telling(gen), interval, timeout)

    def _telling(self, waiting: PQGen[T]) -> Generator[Any, Any, T]:
        began = time.monotonic()
        ready = None
        try:
            while True:
                ready = yield waiting.send(ready)  # type: ignore[arg-type]  # a generator begins with None
                if self.meanwhile:
                    self.meanwhile(time.monotonic() - began)
        except StopIteration as end:
            result: T = end.value
            return result


def check(url: str) -> None:
    """Raise ConfigurationError when `url` can be no database's, whatever the network does."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        message = "database.url cannot be read"
        hint = "write it as postgresql://user:password@host/name, with special characters as %XX"
        raise ConfigurationError(message, hint=hint) from None  # libpq's own words quote the password


def connect(url: str, *, name: str, autocommit: bool = True, reads_only: bool = False) -> Connection:
    """Connect as `name` (seen in pg_stat_activity), in UTC, with commits that wait for the disk.

    `reads_only`: no query may write, or take longer than READ_TIMEOUT_MILLISECONDS.
    Raises UnreachableError when it may work later, ConfigurationError when it will not.
    """
    check(url)
    try:
        connection = Connection.connect(
            url,
            application_name=f"evothesis {name}",
            autocommit=autocommit,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            # a server that is gone without a word is noticed within half a minute
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            options=f"{_OPTIONS} {_READ_OPTIONS}" if reads_only else _OPTIONS,
            row_factory=dict_row,
        )
    except psycopg.OperationalError as error:
        message = f"cannot connect to PostgreSQL: {_first_line(error)}"
        if "FATAL:" in str(error) and not any(reason in str(error) for reason in _PASSING):
            raise ConfigurationError(message, hint="correct database.url, or what the server allows") from error
        raise UnreachableError(message, hint="is it running, and is database.url right?") from error
    # a plan for known parameters pays off at once: the same few statements run for years
    connection.prepare_threshold = 2
    return connection


def pool(url: str, *, name: str) -> Connections:
    """Connections for those who only read while others work; open it with `async with`."""
    return AsyncConnectionPool(
        url,
        connection_class=AsyncConnection,
        kwargs={
            "application_name": f"evothesis {name}",
            "autocommit": True,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": f"{_OPTIONS} {_READ_OPTIONS}",
            "row_factory": dict_row,
        },
        min_size=1,
        max_size=POOL_SIZE_MAX,
        timeout=5,
        reconnect_timeout=5,  # the next one who asks tries again, instead of waiting for ever longer pauses
        open=False,
    )


def is_transient(error: psycopg.Error) -> bool:
    """Whether the same statement may work later: the connection, the server's state or its resources failed."""
    code = error.sqlstate
    if code is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code[:2] in _TRANSIENT_CLASSES or code in _TRANSIENT_CODES


def is_poison(error: psycopg.Error) -> bool:
    """Whether a value is to blame (classes 22: data, 23: constraint, 54: a limit), so that other rows may be stored."""
    is_refused_here = error.sqlstate is None and isinstance(error, psycopg.DataError)  # a NUL in a parameter
    return is_refused_here or (error.sqlstate or "")[:2] in {"22", "23", "54"}


@contextmanager
def reporting() -> Iterator[None]:
    """Turn a lost connection or an unready server into UnreachableError, whose exit code says "run again"."""
    try:
        yield
    except psycopg.Error as error:
        if not is_transient(error):
            raise
        message = f"PostgreSQL failed: {_first_line(error)}"
        raise UnreachableError(message, hint="run the command again when it is back") from error


def try_lock(connection: Connection, lock: int) -> bool:
    """Take an advisory lock for the session; False when somebody else has it.

    A process that was killed a moment ago may seem to hold it still: the server notices its end a little later.
    """
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while not one(connection, "select pg_try_advisory_lock(%(lock)s) as mine", {"lock": lock})["mine"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def one(connection: Connection, query: str | Composed, parameters: dict[str, Any] | None = None) -> DictRow:
    """The one row of a query that always has one."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        message = "a query that always has a row had none"
        raise LookupError(message)
    return row


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

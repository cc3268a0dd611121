"""Programs: a database in, the pg_dump and pg_restore that fit it out.

A newer pg_restore sets what an older server does not know, and an older pg_dump refuses a newer server: both have the
server's own version. Debian's packages come first, then the binaries of the embedded PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from evothesis import pg
from evothesis.appliance.postgres import binaries
from evothesis.errors import EvothesisError

DEBIAN = Path("/usr/lib/postgresql")
WORDS_LENGTH_MAX = 2_000  # of what a program says when it fails


def run(connection: pg.Connection, url: str, name: str, *arguments: str, database: str | None = None) -> None:
    """Run a program on a database, which `database` may name another one of the server. Raises EvothesisError."""
    major = connection.info.server_version // 10_000
    fitting = [place for place in _places(major, name) if place.exists() and _major(place) == major]
    if not fitting:
        message = f"there is no {name} of PostgreSQL {major} on this machine"
        raise EvothesisError(message, hint=f"apt-get install postgresql-client-{major}")
    parts = conninfo_to_dict(url) | ({"dbname": database} if database else {})
    password = parts.pop("password", None)  # arguments can be read by everybody, the environment by its owner
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    done = subprocess.run(
        [str(fitting[0]), f"--dbname={make_conninfo('', **parts)}", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"{name} failed: {done.stderr.strip()[-WORDS_LENGTH_MAX:]}"
        raise EvothesisError(message, hint="is there room on the disk, and does the server run?")


def _places(major: int, name: str) -> Iterator[Path]:
    yield DEBIAN / str(major) / "bin" / name
    with suppress(EvothesisError):  # the embedded PostgreSQL need not be installed
        yield binaries() / name


def _major(program: Path) -> int:
    """``pg_dump (PostgreSQL) 18.4`` is 18."""
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(words.partition("(PostgreSQL) ")[2].partition(".")[0])

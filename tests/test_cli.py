"""Command line: real processes, their exit codes, what they say and where."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evothesis import __version__
from tests import processes

ROOT = Path(__file__).parent.parent
SECRET = "correct-horse-battery"
DEAD = f"postgresql://user:{SECRET}@127.0.0.1:1/name"  # nobody listens on port 1

NEED_DATABASE = [["migrate"], ["migrate", "--check"], ["usage"], ["usage", "notify"], ["export"]]

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run `evothesis …` in an empty folder; variables are added to the environment."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "evothesis", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def failure(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """The exit code and the error of a command that failed in the way that all do."""
    assert "" == done.stdout
    lines = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d (INFO|WARNING) ", line)]
    assert ["Error: ", "Try: "] == [line[: line.find(": ") + 2] for line in lines], done.stderr
    return done.returncode, lines[0].removeprefix("Error: ")


def test_version(cli: Cli) -> None:
    """--version prints the name and the version."""
    assert f"evothesis {__version__}\n" == cli("--version").stdout


def test_help(cli: Cli) -> None:
    """--help names the commands and says where the configuration comes from; so does `evothesis` alone."""
    done = cli("--help")

    assert (0, "") == (done.returncode, done.stderr)
    assert "Usage: evothesis [OPTIONS] COMMAND" in done.stdout
    assert {"serve", "migrate", "usage", "export"} <= set(re.findall(r"^  ([a-z-]+)  ", done.stdout, re.MULTILINE))
    assert "/etc/evothesis/config.toml" in done.stdout
    assert done.stdout == cli().stdout


def test_help_is_quick(cli: Cli) -> None:
    """--help waits for nothing: neither data frames nor the AWS library are imported to print it."""
    done = cli("export", "run", "--help", PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "evothesis.cli" in imported
    assert set() == imported & {"polars", "boto3", "botocore", "aiohttp"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["usage", "--bogus"], "No such option: --bogus"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["export", "extra"], "No such command 'extra'"),
        (["usage", "--month"], "Option '--month' requires an argument"),
        (["usage", "--month", "2026-13"], "'2026-13' is not a month"),
        (["usage", "--format", "yaml"], "Invalid value for '--format'"),
        (["export", "--format", "csv"], "Invalid value for '--format'"),
        (["serve", "--role", "reader"], "Invalid value for '--role'"),
        (["migrate", "--config", "absent.toml"], "cannot read the configuration absent.toml"),
    ],
    ids=str,
)
def test_bad_usage(cli: Cli, arguments: list[str], message: str) -> None:
    """What was written wrongly is code 2, said in the two lines in which all errors are said."""
    code, error = failure(cli(*arguments))

    assert 2 == code
    assert error.startswith(message)


def test_bad_configuration(cli: Cli, tmp_path: Path) -> None:
    """A wrong setting is code 2, with the file and the line."""
    (tmp_path / "config.toml").write_text("[server]\nprot = 1\n")

    assert (2, "config.toml:2: unknown key 'prot' in [server]") == failure(cli("migrate", "--config", "config.toml"))
    assert 2 == cli("serve", EVOTHESIS_CONFIG="config.toml").returncode
    assert (2, "unknown variable EVOTHESIS_SERVER_PROT") == failure(cli("usage", EVOTHESIS_SERVER_PROT="1"))


@pytest.mark.parametrize("command", NEED_DATABASE, ids=" ".join)
def test_unreachable_database(cli: Cli, command: list[str]) -> None:
    """A database that does not answer is code 3: run again. The password is not repeated."""
    done = cli(*command, EVOTHESIS_DATABASE_URL=DEAD)

    code, error = failure(done)
    assert 3 == code
    assert error.startswith("cannot connect to PostgreSQL: ")
    assert SECRET not in done.stderr


@pytest.mark.parametrize("command", ["migrate", "serve"])
@pytest.mark.parametrize("url", [f"postgresql://user:100%{SECRET}@127.0.0.1:1/name", f"nonsense {SECRET}"])
def test_unreadable_database_url(cli: Cli, command: str, url: str) -> None:
    """A database.url that means nothing is code 2, without what is secret in it."""
    server, admin = processes.free_ports(2)
    ports = {"EVOTHESIS_SERVER_PORT": str(server), "EVOTHESIS_ADMIN_PORT": str(admin)}
    done = cli(command, EVOTHESIS_DATABASE_URL=url, **ports)

    code, error = failure(done)
    assert 2 == code
    assert "database.url" in error
    assert SECRET not in done.stderr


def test_unusable_folder(cli: Cli, tmp_path: Path) -> None:
    """A folder that cannot be made is code 1 and names the folder."""
    (tmp_path / "file").touch()

    code, error = failure(cli("migrate", EVOTHESIS_DATABASE_PATH="file/postgres"))

    assert 1 == code
    assert "file/postgres" in error


def test_database_without_schema(cli: Cli, tmp_path: Path) -> None:
    """A command that reads before anybody migrated is code 1, and says which command does."""
    done = cli("usage", EVOTHESIS_DATABASE_PATH=str(tmp_path / "postgres"))

    assert (1, True) == (failure(done)[0], "Try: run `evothesis migrate`" in done.stderr)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [(["usage"], {"instance", "events", "sites"}), (["export"], {"exports", "pending"})],
    ids=["usage", "export"],
)
def test_json_alone(cli: Cli, database: str, arguments: list[str], keys: set[str]) -> None:
    """JSON stands alone on stdout, so that it can be piped."""
    done = cli(*arguments, "--format", "json", EVOTHESIS_DATABASE_URL=database)

    assert 0 == done.returncode
    assert keys <= json.loads(done.stdout).keys()


def test_logs_are_no_results(cli: Cli, tmp_path: Path) -> None:
    """What is logged goes to stderr, in the format that the configuration asks for."""
    environment = {"EVOTHESIS_DATABASE_PATH": str(tmp_path / "postgres"), "EVOTHESIS_LOG_FORMAT": "json"}

    done = cli("migrate", **environment)

    assert all(line.startswith("applied  0") for line in done.stdout.splitlines())
    assert "Migration applied." in {json.loads(line)["message"] for line in done.stderr.splitlines()}


def test_closed_pipe(database: str) -> None:
    """A reader that leaves early is no reason for a traceback."""
    command = f"{sys.executable} -m evothesis usage --format csv | true"
    environment = os.environ | {"EVOTHESIS_DATABASE_URL": database, "PYTHONPATH": str(ROOT)}

    done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)

    assert "" == done.stderr


@pytest.mark.parametrize("listener", ["server", "admin"])
def test_busy_port(cli: Cli, listener: str) -> None:
    """A port that somebody else has is named at once, before anything is started."""
    free, busy = processes.free_ports(2)
    ports = {"EVOTHESIS_SERVER_PORT": str(free), "EVOTHESIS_ADMIN_PORT": str(free)}
    ports |= {f"EVOTHESIS_{listener.upper()}_PORT": str(busy), "EVOTHESIS_SERVER_HOST": "127.0.0.1"}
    with socket.create_server(("127.0.0.1", busy)):
        done = cli("serve", **ports)

    assert (2, f"cannot listen on 127.0.0.1:{busy}: Address already in use") == failure(done)


def test_one_port_for_both(cli: Cli) -> None:
    """The two listeners cannot share a port; the hint thinks of that too."""
    port = str(processes.free_ports(1)[0])
    ports = {"EVOTHESIS_SERVER_PORT": port, "EVOTHESIS_ADMIN_PORT": port, "EVOTHESIS_SERVER_HOST": "127.0.0.1"}

    done = cli("serve", **ports)

    assert (2, f"cannot listen on 127.0.0.1:{port}: Address already in use") == failure(done)
    assert "Try: is it running already, or do two settings name this port?\n" in done.stderr


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130, as a shell expects, and without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/name"
        environment = os.environ | {"EVOTHESIS_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "evothesis", "migrate"]
        with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
            silent.settimeout(30)
            with silent.accept()[0]:  # it waits for an answer now
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=30)

    assert (130, "") == (process.returncode, errors)

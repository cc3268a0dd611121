"""The scripts, run in a copy of the repository whose environment is there already and whose tools are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ("script/server", "script/test", "script/lock", ".ci/run")
CHECKS = ("ruff", "mypy", "lint-imports", "shellcheck", "biome", "tsc", "pytest", "coverage")

# writes down how it was called, for the test to read
STAND_IN = """#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
case " $FAILING " in *" ${0##*/} "*) exit 1 ;; esac
[ "${0##*/}" = pytest ] && printf '%s\n' "=== 7 passed in 0.01s ===" "a warning at exit"
exit 0
"""


class Checkout:
    """A copy of what the scripts read, with every program that they start replaced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls_path = path / "calls"
        for pattern in ("script/*", ".ci/run", "requirements*.lock", "pyproject.toml", "package*.json"):
            for file in ROOT.glob(pattern):
                target = path / file.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        self.add(".venv/bin", "python", "uv", "evothesis", *CHECKS)
        self.add("programs", "npm", "chromium", "apt-get")
        (path / "node_modules").mkdir()
        self.bash("source script/environment.sh; venv_place >.venv/place")

    def add(self, folder: str, *names: str) -> None:
        """Put stand-ins for programs into a folder."""
        (self.path / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (self.path / folder / name).write_text(STAND_IN)
            (self.path / folder / name).chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command from somewhere else than the checkout."""
        settings = {"PATH": f"{self.path / 'programs'}:/usr/bin:/bin", "CALLS": str(self.calls_path), "HOME": "/"}
        return subprocess.run(
            command, cwd="/", env=settings | environment, capture_output=True, text=True, check=False, timeout=60
        )

    def bash(self, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line of bash in the checkout."""
        return self.run("bash", "-c", f"cd '{self.path}'; {text}", **environment)

    def script(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the checkout."""
        return self.run(str(self.path / name), *arguments, **environment)

    def calls(self) -> list[str]:
        """What the stand-ins were called with; forgets it."""
        lines = self.calls_path.read_text().splitlines() if self.calls_path.exists() else []
        self.calls_path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout in which nothing has been installed yet."""
    return Checkout(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_executable(script: str) -> None:
    """Every script can be started and is bash without mistakes of syntax."""
    assert os.access(ROOT / script, os.X_OK)
    assert 0 == subprocess.run(["/bin/bash", "-n", script], cwd=ROOT, check=False).returncode


def test_server_installs_once(checkout: Checkout) -> None:
    """A second start installs nothing and passes its options on."""
    first = checkout.script("script/server")
    calls = checkout.calls()
    second = checkout.script("script/server", "--role", "collector")

    assert (0, 0) == (first.returncode, second.returncode), first.stderr + second.stderr
    assert ["python", "uv", "uv", "evothesis"] == [call.split()[0] for call in calls]
    assert "--require-hashes" in calls[0]
    assert "--require-hashes" in calls[1]
    assert ["evothesis serve --demo --role collector"] == checkout.calls()


def test_server_installs_again(checkout: Checkout) -> None:
    """A changed lock is installed, and one that failed halfway is not taken for installed."""
    checkout.script("script/server")
    checkout.calls()
    with (checkout.path / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    failed = checkout.script("script/server", FAILING="uv")
    failed_calls = checkout.calls()
    again = checkout.script("script/server")

    assert (1, 0) == (failed.returncode, again.returncode)
    assert ["python", "uv"] == [call.split()[0] for call in failed_calls]
    assert ["python", "uv", "uv", "evothesis"] == [call.split()[0] for call in checkout.calls()]


def test_server_keeps_packages_of_tests(checkout: Checkout) -> None:
    """A server that is started after the tests leaves their packages in place."""
    checkout.script("script/test")
    checkout.calls()

    assert 0 == checkout.script("script/server").returncode
    assert ["evothesis serve --demo"] == checkout.calls()


def test_long_installs_readers(checkout: Checkout) -> None:
    """Only --long installs who reads what is delivered, from hashes too, and the next run leaves them in place."""
    checkout.script("script/test")
    plain = checkout.calls()
    checkout.script("script/test", "--long")
    installed = [call for call in checkout.calls() if "requirements-readers.lock" in call]
    checkout.script("script/test")

    assert [] == [call for call in plain if "requirements-readers.lock" in call]
    assert [True] == ["--require-hashes" in call for call in installed]
    assert [] == [call for call in checkout.calls() if call.startswith("uv ")]


@pytest.mark.parametrize(("given", "expected"), [({}, "127.0.0.1"), ({"EVOTHESIS_SERVER_HOST": "::"}, "::")])
def test_server_listens_here(checkout: Checkout, given: dict[str, str], expected: str) -> None:
    """The demo listens on this machine only, unless the environment says otherwise."""
    (checkout.path / ".venv/bin/evothesis").write_text('#!/bin/sh\necho "$EVOTHESIS_SERVER_HOST $PWD"\n')

    ran = checkout.script("script/server", **given)

    assert f"{expected} {checkout.path}" == ran.stdout.splitlines()[-1]


def test_server_becomes_the_process(checkout: Checkout) -> None:
    """The process that was started is the server itself, so that signals reach it."""
    (checkout.path / ".venv/bin/evothesis").write_text("#!/bin/sh\necho $$\n")

    ran = checkout.bash("echo $$; exec script/server")

    assert ran.stdout.splitlines()[0] == ran.stdout.splitlines()[-1]


def test_moved_checkout(checkout: Checkout) -> None:
    """An environment that was made elsewhere is made again: its programs point to the old place."""
    (checkout.path / ".venv/place").write_text("/elsewhere /usr/bin/python3")
    checkout.add("programs", "python3")

    checkout.script("script/server")

    assert "python3 -m venv --clear .venv" in checkout.calls()


def test_python_too_old(checkout: Checkout) -> None:
    """An old Python is refused in two lines that name the version needed."""
    (checkout.path / ".venv/place").unlink()
    checkout.add("programs", "python3")

    ran = checkout.script("script/server", FAILING="python3")

    assert 1 == ran.returncode
    assert "Error: python3 is not Python 3.11 or newer" == ran.stderr.splitlines()[0]
    assert ran.stderr.splitlines()[1].startswith("Try: PYTHON=")


def test_missing_package_without_root(checkout: Checkout) -> None:
    """Who may not install system packages is told the command."""
    (checkout.path / "programs/id").write_text("#!/bin/sh\necho 1000\n")
    (checkout.path / "programs/id").chmod(0o755)

    ran = checkout.bash("source script/environment.sh; install_packages chromium npm")

    assert 1 == ran.returncode
    assert "apt-get install --yes --no-install-recommends chromium npm" in ran.stderr
    assert [] == checkout.calls()


def test_checks_all_run(checkout: Checkout) -> None:
    """A check that fails does not hide the later ones, and pytest's own last line stands in the summary."""
    ran = checkout.script("script/test", FAILING="ruff mypy")

    assert 1 == ran.returncode
    assert set(CHECKS) <= {call.split()[0] for call in checkout.calls()}
    summary = ran.stdout.splitlines()[-12:]
    outcomes = [line.split()[0] for line in summary[:10]]
    assert ["FAILED", "FAILED", "FAILED", "ok", "ok", "ok", "ok", "ok", "ok", "ok"] == outcomes
    assert ["=== 7 passed in 0.01s ===", "Failed: ruff check, ruff format, mypy"] == summary[10:]


@pytest.mark.parametrize("failing", ["npm", "tsc", "pytest", "coverage"])
def test_check_fails_alone(checkout: Checkout, failing: str) -> None:
    """One failure is enough for a failed run."""
    assert 1 == checkout.script("script/test", FAILING=failing).returncode
    assert 0 == checkout.script("script/test").returncode


PYTEST = "pytest -n 4 --dist loadfile --no-loadscope-reorder"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [f"{PYTEST} --cov --cov-report=", "coverage report --fail-under=100"]),
        (["--quick"], [f"{PYTEST} -m not long and not browser and not crash"]),
        (
            ["--long"],
            [f"{PYTEST} --cov --cov-report=", "coverage report --fail-under=100", "pytest -m long and not machine"],
        ),
        (["--", "-k", "spool"], [f"{PYTEST} -k spool"]),
        (
            ["--quick", "--", "-k", "spool"],
            [f"{PYTEST} -m not long and not browser and not crash -k spool"],
        ),
    ],
)
def test_selection(checkout: Checkout, options: list[str], expected: list[str]) -> None:
    """The options choose tests, what follows -- goes to pytest, and what all tests reach is measured."""
    checkout.script("script/test", *options)

    assert expected == [call.rstrip() for call in checkout.calls() if call.split()[0] in {"pytest", "coverage"}]


def test_unknown_option(checkout: Checkout) -> None:
    """A mistyped option is refused before anything is installed."""
    ran = checkout.script("script/test", "--fast")

    assert 2 == ran.returncode
    assert "--fast" in ran.stderr
    assert [] == checkout.calls()


def test_help(checkout: Checkout) -> None:
    """--help prints the options and does nothing else."""
    ran = checkout.script("script/test", "--help")

    assert 0 == ran.returncode
    assert "--quick" in ran.stdout
    assert [] == checkout.calls()

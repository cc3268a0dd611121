"""The repository's own promises: files stay small, modules stand alone, locks are complete, exceptions have reasons."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

LINES_MAX = 300  # what a reader takes in at one sitting; a longer file is two things
CODE = {".py", ".js", ".sql", ".sh"}

LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-test.lock": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["test"],
    "requirements-readers.lock": PROJECT["dependency-groups"]["readers"],
    "requirements-install.lock": PROJECT["dependency-groups"]["install"],
}
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)")
LOCKED = re.compile(r"[a-z0-9-]+==[a-z0-9.]+( ; [\w' .<>=!]+)?( --hash=sha256:[0-9a-f]{64})+")
EXCEPTION = re.compile(r"# (noqa: [A-Z]+[0-9]+|type: ignore\[[a-z-]+\])(?P<rest>.*)")
REASON = re.compile(r"\w+ \w+")

# a fresh interpreter per module, without paying for its start each time: the parent imports nothing
IMPORT_EACH_ALONE = """
import importlib, os, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "evothesis"]:
    del sys.modules[name]  # what is not ours stays, and need not be imported a hundred times
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, *traceback.format_exception_only(error), sep=": ", end="", flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        print(name, f"ended with status {status}", sep=": ", flush=True)
"""


def tracked() -> list[Path]:
    """Every file that git knows and that is still there."""
    # safe.directory: a checkout that belongs to another user is still ours to read
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def is_code(path: Path) -> bool:
    """Whether people wrote this file to be run."""
    return path.suffix in CODE or path.relative_to(ROOT).parts[0] in {"script", ".ci"}


def modules() -> list[str]:
    """The name of every module of the package but the one that is run, not imported."""
    paths = sorted(path for path in (ROOT / "evothesis").rglob("*.py") if path.stem != "__main__")
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    return [".".join(names[:-1] if names[-1] == "__init__" else names) for names in parts]


def pins(lock: str) -> set[tuple[str, str]]:
    """Name and version of everything in a lock file."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return {(match["name"], match["version"]) for match in map(PIN.match, lines) if match}


def test_file_length() -> None:
    """No file of code is longer than 300 lines."""
    lengths = {path: path.read_bytes().count(b"\n") for path in tracked() if is_code(path)}

    assert {} == {str(path): length for path, length in lengths.items() if length > LINES_MAX}


def test_modules_import_alone() -> None:
    """Every module can be the first one imported, and nothing that it imports warns."""
    command = [sys.executable, "-W", "error", "-c", IMPORT_EACH_ALONE, *modules()]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    assert [] == (ran.stdout + ran.stderr).splitlines()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_says_nothing_of_where(lock: str) -> None:
    """A lock file holds names, versions, markers and hashes: no address, no path, no option."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace(" \\\n   ", "")

    assert [] == [line for line in text.splitlines() if not LOCKED.fullmatch(line)]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_fits_project(lock: str) -> None:
    """What pyproject.toml asks for is locked, at a version that it allows."""
    locked = pins(lock)
    wanted = [Requirement(text) for text in LOCKS[lock]]

    missing = [
        str(requirement)
        for requirement in wanted
        if not any(
            name == canonicalize_name(requirement.name) and requirement.specifier.contains(version)
            for name, version in locked
        )
    ]

    assert [] == missing


def test_locks_agree() -> None:
    """The tests run with the versions that the server runs with."""
    assert set() == pins("requirements.lock") - pins("requirements-test.lock")


def test_lint_exceptions_have_reasons() -> None:
    """Every rule that pyproject.toml switches off says why."""
    table = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.ruff.lint]")[2]
    table = table.partition("\n[tool.importlinter]")[0]
    exceptions = [line for line in table.splitlines() if re.match(r'\s+"[A-Z]+[0-9]*"', line)]

    assert len(exceptions) > 0
    assert [] == [line for line in exceptions if not re.search(r'", +# \w+ \w+', line)]


def test_code_exceptions_have_reasons() -> None:
    """Every `noqa` and `type: ignore` says why, behind it or on the line above."""
    without = []
    for path in tracked():
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".py" else []
        for above, line in pairwise(["", *lines]):
            exception = EXCEPTION.search(line)
            if exception and not REASON.search(exception["rest"]) and not above.lstrip().startswith("#"):
                without.append(f"{path.relative_to(ROOT)}: {line.strip()}")

    assert [] == without

"""Log: records in, one line each on stderr out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SECRET = "correct-horse-battery"
FORGED = "a\nb\r\nc\x1b[31m\x85\u2028\x00\x7f"  # ends of lines, a colour, and what else moves a cursor

# run with a format and a statement that logs
PROGRAM = """
import logging, sys
from evothesis import log as setup
setup.configure(sys.argv[1])
log = logging.getLogger("evothesis.loader.run")
exec(sys.argv[2])
"""

Log = Callable[[str, str], list[str]]


@pytest.fixture
def log() -> Log:
    """Log in a process of its own: the format and a statement in, the lines on stderr out."""

    def run(form: str, statement: str) -> list[str]:
        command = [sys.executable, "-c", PROGRAM, form, statement]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "" == done.stdout
        return done.stderr.split("\n")[:-1]

    return run


def parsed(lines: list[str]) -> Any:  # noqa: ANN401 - any JSON value
    """The one record."""
    assert 1 == len(lines)
    return json.loads(lines[0])


def test_text(log: Log) -> None:
    """A text line has the time, the level, the module, the message and the fields in their order."""
    (line,) = log("text", "log.info('Segment loaded.', extra={'writer': 3, 'path': 'a b', 'ok': True})")

    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time)
    assert 'INFO loader.run: Segment loaded. writer=3 path="a b" ok=true' == rest


def test_json(log: Log) -> None:
    """A JSON line is an object with the time in UTC, the level, the logger, the message and the fields."""
    record = parsed(log("json", "log.warning('Segment loaded.', extra={'rows': 12, 'site_id': 'a'})"))

    age_seconds = (datetime.now(UTC) - datetime.fromisoformat(record.pop("time"))).total_seconds()
    assert 0 <= age_seconds < 60
    assert {
        "level": "WARNING",
        "logger": "evothesis.loader.run",
        "message": "Segment loaded.",
        "rows": 12,
        "site_id": "a",
    } == record


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "statement",
    [
        f"log.info('Segment loaded.', extra={{'reason': {FORGED!r}}})",
        f"log.info('Segment loaded.', extra={{'reason': ValueError({FORGED!r})}})",
        f"log.info('Segment loaded.', extra={{'reason': [{{'deep': {FORGED!r}}}]}})",
        f"log.info('Segment loaded: %s.', {FORGED!r})",
        f"try:\n  raise ValueError({FORGED!r})\nexcept ValueError:\n  log.exception('Process failed.')",
    ],
    ids=["text", "object", "nested", "argument", "exception"],
)
def test_value_forges_no_line(log: Log, form: str, statement: str) -> None:
    """Whatever a value holds, no line of it looks like one of ours, and no terminal is told anything."""
    lines = log(form, statement)

    beginnings = [line for line in lines if not line.startswith(" ")]
    assert 1 == len(beginnings)
    assert [] == re.findall(r"[^\x20-\x7e]", "".join(lines))


def test_exception_as_json(log: Log) -> None:
    """A crash is one JSON line, with the traceback in it."""
    record = parsed(log("json", "try:\n  1 / 0\nexcept ZeroDivisionError:\n  log.exception('Process failed.')"))

    assert ("ERROR", "Process failed.") == (record["level"], record["message"])
    assert record["traceback"].endswith("ZeroDivisionError: division by zero")


def test_fields_replace_nothing(log: Log) -> None:
    """A field that is named like a part of the record does not hide it."""
    record = parsed(log("json", "log.error('Load failed.', extra={'level': 'x', 'time': 'x', 'logger': 'x'})"))

    assert ("ERROR", "evothesis.loader.run", False) == (record["level"], record["logger"], record["time"] == "x")


def test_debug_is_silent(log: Log) -> None:
    """What is meant for nobody is not written."""
    assert [] == log("text", "log.debug('Segment seen.')")


@pytest.mark.parametrize(
    "url", [f"postgresql://user:{SECRET}@127.0.0.1/name", f"host=127.0.0.1 user=user password='{SECRET}'"]
)
def test_no_secret(log: Log, tmp_path: Path, url: str) -> None:
    """A configuration that ends up in a record shows its settings, and none of its secrets."""
    (tmp_path / "config.toml").write_text(
        f"""
        admin.token = "{SECRET}"
        database.url = "{url}"
        export.destination = [{{ name = "backup", secret_access_key = "{SECRET}" }}]
        """
    )
    statement = f"""
from pathlib import Path
from evothesis.configuration import load
log.info("Started.", extra={{"config": load(Path({str(tmp_path)!r}) / "config.toml", {{}})}})
"""

    (line,) = log("text", statement)

    assert "backup" in line
    assert SECRET not in line

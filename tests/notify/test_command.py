"""`evothesis usage notify`: a real process, what it prints and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from evothesis import outbox
from tests.notify.ledger import Ledger
from tests.notify.receiver import SECRET, Receiver

ROOT = Path(__file__).parent.parent.parent


class Command:
    """The command, on a ledger, with a receiver."""

    def __init__(self, ledger: Ledger, receiver: Receiver) -> None:
        """The receiver is configured."""
        self.environment = {
            "EVOTHESIS_DATABASE_URL": ledger.url,
            "EVOTHESIS_NOTIFY_WEBHOOK_URL": receiver.url,
            "EVOTHESIS_NOTIFY_WEBHOOK_SECRET": SECRET,
            "EVOTHESIS_NOTIFY_WEBHOOK_PRIVATE": "true",
        }

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """The exit code, stdout, and stderr without the log."""
        done = subprocess.run(
            [sys.executable, "-m", "evothesis", "usage", "notify", *arguments],
            env=os.environ | self.environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        errors = [line for line in done.stderr.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]
        return done.returncode, done.stdout, "\n".join(errors)


@pytest.fixture
def command(ledger: Ledger, receiver: Receiver) -> Command:
    """`usage notify`, with a site to tell of."""
    data = {"site_id": "a.example", "first_received_at": "2026-11-25T09:00:00Z"}
    outbox.add(ledger.connection, "site.discovered", "a.example", data)
    return Command(ledger, receiver)


def test_sends(command: Command, receiver: Receiver) -> None:
    """--dry-run shows what is due and sends nothing; then it is sent, once."""
    code, shown, errors = command.run("--dry-run")
    assert (0, "", 0) == (code, errors, receiver.asked)
    assert "first event of a.example" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80

    code, printed, errors = command.run("--format", "json")
    assert (0, "") == (code, errors)
    result = json.loads(printed)
    assert ["site.discovered", "usage.daily"] == [message["kind"] for message in result["messages"]]
    assert {"sent"} == {message["state"] for message in result["messages"]}
    assert receiver.ids == [message["id"] for message in result["messages"]]
    assert 0 == result["waiting"]

    assert (0, "Nothing to send.\n", "") == command.run()


def test_failures(command: Command, receiver: Receiver) -> None:
    """A receiver that is busy is code 3, one that refuses code 1; each says what to try."""
    receiver.answer = lambda _request: web.Response(status=503)
    code, printed, errors = command.run()
    assert (3, True) == (code, "Error: webhook: the webhook answered 503\nTry: " in errors)
    assert "2 waiting to be tried again." in printed

    receiver.answer = lambda _request: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
    code, _, errors = command.run()
    assert (1, True) == (code, "Try: redirects are not followed" in errors)


def test_test(command: Command, receiver: Receiver) -> None:
    """--test sends a signed message of its own kind, keeps nothing, and says what came back."""
    unreachable = {"EVOTHESIS_DATABASE_URL": "postgresql://127.0.0.1:1/no"}

    assert (0, "webhook: 204\n", "") == command.run("--test", **unreachable)
    assert ["test"] == [received.payload["type"] for received in receiver.received]
    receiver.secret = "whsec_" + "REVG" * 12
    code, _, errors = command.run("--test")
    assert (1, True) == (code, errors.startswith("Error: webhook: the webhook answered 401\nTry: "))
    code, _, errors = command.run("--test", EVOTHESIS_NOTIFY_WEBHOOK_URL="")
    assert (2, True) == (code, errors.startswith("Error: nothing is configured to receive messages\nTry: "))

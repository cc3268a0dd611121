"""Requests: an export that somebody else runs, asked for and told of through files."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.admin.conftest import delivering
from tests.admin.desk import document
from tests.appliance import ROOT, Appliance
from tests.collector.client import ask

UNIT = (ROOT / "systemd/evothesis-export.service").read_text()
FOLDER = "/run/evothesis"


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that may not export itself."""
    folder = tmp_path_factory.mktemp("asking")
    with delivering(folder, postgres_template, request_path=str(folder / "export.wanted")) as appliance:
        yield appliance


def systemd(appliance: Appliance, *kinds: str, status: str = "0") -> None:
    """Run what the unit runs before or after the export."""
    for line in UNIT.splitlines():
        kind, _, command = line.partition("=")
        if kind in kinds:
            words = shlex.split(command.lstrip("-").replace(FOLDER, str(appliance.folder)))
            subprocess.run(words, env=os.environ | {"EXIT_STATUS": status}, check=True)


def test_config_before(asking: Appliance) -> None:
    """Before the first export nobody knows whether a destination can be written to."""
    found = document(asking, "/export/config")["destinations"]

    assert [("client", None, None), ("broken", None, None)] == [
        tuple(line[name] for name in ("name", "ok", "tried_at")) for line in found
    ]


def test_run(asking: Appliance) -> None:
    """It is asked for, runs, and has ended, as the files say; another one is refused meanwhile."""
    before = document(asking, "/export/status")["run"]
    answer = ask(asking.admin_url, "POST", "/export/run", headers=asking.admin_headers)
    again = ask(asking.admin_url, "POST", "/export/run", headers=asking.admin_headers)
    systemd(asking, "ExecStartPre")
    during = document(asking, "/export/status")["run"]
    done = asking.cli("export")
    systemd(asking, "ExecStopPost", status=str(done.returncode))
    after = document(asking, "/export/status")["run"]

    assert (None, 202, True) == (before, answer.status, answer.json["run"]["running"])
    assert (409, "export_running") == again.error
    assert (True, None, None) == tuple(during[name] for name in ("running", "ended_at", "exit_code"))
    assert (False, 1, True) == (after["running"], after["exit_code"], after["began_at"] <= after["ended_at"])


def test_config(asking: Appliance) -> None:
    """What the last export found of each destination is told."""
    asking.cli("export")

    client, broken = document(asking, "/export/config")["destinations"]

    assert (True, None, True) == (client["ok"], client["error"], bool(client["tried_at"]))
    assert (False, True) == (broken["ok"], "file" in broken["error"])


def test_killed_run(asking: Appliance) -> None:
    """An export that a signal has ended has no exit code."""
    systemd(asking, "ExecStartPre")
    systemd(asking, "ExecStopPost", status="KILL")

    run = document(asking, "/export/status")["run"]

    assert (False, None, True) == (run["running"], run["exit_code"], bool(run["ended_at"]))

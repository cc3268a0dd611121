"""Units: what systemd itself says of them, without one that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_docs import unknown_word

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "systemd"
ANALYZE = "systemd-analyze"

# how far each lies open, of 10; `systemd-analyze security` calls up to 1.9 "OK"
EXPOSURE_MAX = {
    "evothesis-collector": 0.2,
    "evothesis-loader": 0.3,
    "evothesis-export": 1.1,
    "evothesis-usage-notify": 1.1,
    "evothesis-usage-close": 0.2,
    "evothesis-backup": 1.1,
    "evothesis-drill": 0.2,
}
SETTING = re.compile(r"^([A-Z]\w+)=(.*)$", re.MULTILINE)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Ask one of systemd's programs."""
    return subprocess.run(command, capture_output=True, text=True, check=False)


def settings(name: str) -> dict[str, str]:
    """What a unit says; of what it says twice the last."""
    return dict(SETTING.findall((UNITS / name).read_text()))


def test_every_service_is_judged() -> None:
    """There is a limit for each service."""
    assert set(EXPOSURE_MAX) == {path.stem for path in UNITS.glob("*.service")}


@pytest.mark.parametrize("name", EXPOSURE_MAX)
def test_exposure(name: str) -> None:
    """No service lies further open than it must."""
    done = run(ANALYZE, "security", "--offline=yes", "--no-pager", str(UNITS / f"{name}.service"))

    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_MAX[name], done.stdout


def test_units_are_understood(tmp_path: Path) -> None:
    """Systemd knows every setting, and finds every unit that another one names."""
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.socket"), *UNITS.glob("*.timer"), *UNITS.glob("*.path")]:
        # the program is somewhere else on the machine of the tests
        text = path.read_text().replace("/usr/local/bin/evothesis", shutil.which("true") or "")
        (tmp_path / path.name).write_text(text)
    files = sorted(str(path) for path in tmp_path.iterdir())

    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", *files],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_every_line_has_a_reason() -> None:
    """Each paragraph of settings in a unit has a comment."""
    without = [
        f"{path.name}: {paragraph}"
        for path in UNITS.iterdir()
        for paragraph in re.split(r"\n\n|^\[\w+\]\n", path.read_text(), flags=re.MULTILINE)
        if SETTING.search(paragraph) and "#" not in paragraph and not re.match(r"(Description|WantedBy)=", paragraph)
    ]

    assert [] == [one for one in without if "ExecStart=" not in one]


def test_commands_exist() -> None:
    """What a unit runs is a command with options that it has."""
    commands = {path.stem: settings(path.name)["ExecStart"].split() for path in UNITS.glob("*.service")}

    assert {} == {name: words for name, words in commands.items() if unknown_word(words[1:])}


def test_every_job_has_a_timer() -> None:
    """What runs and ends is started by a timer of its name."""
    jobs = {path.stem for path in UNITS.glob("*.service") if settings(path.name)["Type"] == "oneshot"}

    assert jobs == {path.stem for path in UNITS.glob("*.timer")}


@pytest.mark.parametrize("path", sorted(UNITS.glob("*.timer")), ids=lambda path: path.stem)
def test_timers_elapse(path: Path) -> None:
    """Systemd understands when a timer elapses."""
    done = run(ANALYZE, "calendar", settings(path.name)["OnCalendar"])

    assert (0, True) == (done.returncode, "Next elapse: " in done.stdout), done.stderr


def test_collector_knows_nothing() -> None:
    """The collector has no secret, no database and no network of its own, and one folder to write to."""
    text = (UNITS / "evothesis-collector.service").read_text()
    said = settings("evothesis-collector.service")

    assert "LoadCredential" not in text
    assert "/run/postgresql" in said["InaccessiblePaths"]
    assert ("yes", "AF_UNIX") == (said["PrivateNetwork"], said["RestrictAddressFamilies"])
    assert "/var/lib/evothesis/spool" == said["ReadWritePaths"]


def test_users_and_folders(tmp_path: Path) -> None:
    """Users and folders are made as written, each with its mode; each service's user is one of them."""
    (tmp_path / "etc").mkdir()
    for program, kind in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        options = ["--create"] if kind == "tmpfiles" else []
        done = run(program, *options, f"--root={tmp_path}", str(UNITS / f"evothesis.{kind}.conf"))
        assert 0 == done.returncode, done.stderr

    users = {line.partition(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    modes = {
        str(path.relative_to(tmp_path)): f"{path.stat().st_mode & 0o7777:o}"
        for path in [
            folder for place in ("etc", "run", "var/lib") for folder in tmp_path.glob(f"{place}/evothesis/**/")
        ]
    }
    assert {settings(f"{name}.service")["User"] for name in EXPOSURE_MAX} <= users
    assert {
        "etc/evothesis": "751",
        "etc/evothesis/secrets": "700",
        "etc/evothesis/secrets/serve": "700",
        "etc/evothesis/secrets/export": "700",
        "etc/evothesis/secrets/serve.encrypted": "700",
        "etc/evothesis/secrets/export.encrypted": "700",
        "run/evothesis": "770",
        "var/lib/evothesis": "750",
        "var/lib/evothesis/spool": "2770",
        "var/lib/evothesis/export": "700",
        "var/lib/evothesis/backup": "700",
    } == modes

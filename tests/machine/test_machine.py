"""From a bare Debian to a service, on a systemd that runs: installed, used from outside, hurt, upgraded, taken away.

The tests are one story: each goes on where the one before it ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance import eventually
from tests.machine.conftest import NEWER_VERSION, Packages
from tests.machine.machine import Machine
from tests.machine.operators import TOKEN, Operator
from tests.machine.wire import Wire
from tests.test_systemd import EXPOSURE_MAX

pytestmark = [pytest.mark.machine, pytest.mark.long, pytest.mark.timeout(900)]

FIRST_EVENT_SECONDS_MAX = 300
WATCHDOG_SECONDS_MAX = 90
# the bars of the appliance; each unit has a lower one of its own in EXPOSURE_MAX
EXPOSURE_BARS = {"evothesis-collector": 1.0, "evothesis-loader": 0.5, "evothesis-export": 1.2}
# beside what a timer has of its own: it elapses at once
NOW = "[Timer]\nOnActiveSec=1\nAccuracySec=1\nRandomizedDelaySec=0\n"
JOBS = dict.fromkeys(("backup", "drill", "export", "usage-notify"), ("success", "0"))
JOBS |= {"usage-close": ("exit-code", "1")}  # of the month before there is nothing yet: a person is to know

OPEN = "[Service]\nProtectSystem=no\nPrivateNetwork=no\nIPAddressDeny=\nSystemCallFilter=\n"
SECRETS = "cd /etc/evothesis/secrets && find . -type f | sort | xargs sha256sum"

Record = Callable[[str, object], None]


def test_first_event(machine: Machine, operator: Operator, wire: Wire, record_property: Record) -> None:
    """Two commands make a running service of a bare machine, within five minutes to the first stored event."""
    began = time.monotonic()
    operator.install()
    record_property("seconds from a bare machine to the installed package", round(time.monotonic() - began))
    operator.init()
    operator.open_to_outside()
    sent = wire.send()
    eventually(lambda: operator.stored() == sent.taken, timeout=60)
    seconds = round(time.monotonic() - began)

    record_property("seconds from a bare machine to the first event stored", seconds)
    assert seconds < FIRST_EVENT_SECONDS_MAX
    assert ({}, "") == (sent.others, machine.shell("systemctl --failed --no-legend"))


@pytest.mark.parametrize("job", JOBS)
def test_timers(machine: Machine, job: str) -> None:
    """A timer that elapses starts its job, which works as its own user, in its sandbox."""
    folder = machine.path(f"/run/systemd/system/evothesis-{job}.timer.d")
    machine.shell(f"mkdir -p /run/systemd/system/{folder.name}")
    machine.run("tee", f"/run/systemd/system/{folder.name}/now.conf", text=NOW)
    machine.shell(f"systemctl daemon-reload; systemctl restart evothesis-{job}.timer")

    service = f"evothesis-{job}.service"
    eventually(lambda: machine.property(service, "ExecMainExitTimestamp"), timeout=60)
    eventually(lambda: machine.property(service, "ActiveState") != "activating", timeout=60)
    journal = machine.shell(f"journalctl --no-pager --unit={service}")
    result = (machine.property(service, "Result"), machine.property(service, "ExecMainStatus"))
    machine.shell(f"rm -r /run/systemd/system/{folder.name}; systemctl daemon-reload; systemctl reset-failed")
    assert JOBS[job] == result, journal


def test_export_on_request(operator: Operator, wire: Wire) -> None:
    """The operator's API, which has no network, has an export started by systemd, and knows how it went."""
    before = operator.stored()
    sent = wire.send()
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)
    started = operator.ask("/export/run", "POST")["run"]
    eventually(lambda: not operator.ask("/export/status")["run"]["running"], timeout=60)

    status, (client,) = operator.ask("/export/status"), operator.ask("/export/config")["destinations"]
    assert (True, 0) == (started["running"], status["run"]["exit_code"])
    assert before + sent.taken == status["destinations"][0]["rows"]
    assert (True, None, True) == (client["ok"], client["error"], client["tried_at"] > started["began_at"])


def test_well(machine: Machine, operator: Operator, record_property: Record) -> None:
    """The doctor finds nothing that needs a person; systemd judges each service as it was judged before."""
    said = {name: machine.shell(f"systemd-analyze security --no-pager {name}.service") for name in EXPOSURE_MAX}
    levels = {name: float(text.rpartition(": ")[2].split()[0]) for name, text in said.items()}

    record_property("exposure", ", ".join(f"{name} {level}" for name, level in levels.items()))
    assert {} == operator.findings()
    assert {} == {name: level for name, level in levels.items() if level > (EXPOSURE_MAX | EXPOSURE_BARS)[name]}


def test_open_service(machine: Machine, operator: Operator) -> None:
    """The doctor names a service that a drop-in lets do more than it needs, and tells how far the others lie open."""
    folder = "/run/systemd/system/evothesis-collector.service.d"
    before = operator.findings("ok")
    machine.shell(f"mkdir -p {folder}")
    machine.run("tee", f"{folder}/open.conf", text=OPEN)
    machine.shell("systemctl daemon-reload")
    after = operator.findings("note")
    machine.shell(f"rm -r {folder}; systemctl daemon-reload")

    assert all(
        f"{name.removeprefix('evothesis-')} 0." in before["exposure"] for name in ("collector", "loader", "drill")
    )
    assert after["exposure"].startswith("evothesis-collector has ")


def test_encrypted_secrets(machine: Machine, operator: Operator, wire: Wire) -> None:
    """Secrets are encrypted where they lie; services start with them, the export delivers, the doctor is content."""
    token = machine.shell(TOKEN).strip()
    shown = machine.run("evothesis", "init", "--encrypt-secrets", "--dry-run").stdout.splitlines()
    plain = machine.shell(SECRETS)
    done = machine.run("evothesis", "init", "--encrypt-secrets")
    encrypted = machine.shell(SECRETS)
    again = machine.run("evothesis", "init")
    before = operator.stored()
    machine.shell("systemctl restart evothesis-loader evothesis-collector")
    sent = wire.send()
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)
    machine.shell("systemctl start evothesis-export")

    assert (0, 0) == (done.returncode, again.returncode), done.stderr + again.stderr
    assert 2 == len([line for line in shown if "encrypted for this machine" in line])
    assert ("serve/admin.token" in plain, "serve.encrypted/admin.token" in encrypted) == (True, True)
    assert (True, token) == (len(token) > 20, machine.shell(TOKEN).strip())
    assert "" == machine.shell(f"grep -rlF -e {token} /etc /var/lib/evothesis /var/log")
    assert encrypted == machine.shell(SECRETS)
    assert ("success", (True, before + sent.taken)) == (
        machine.property("evothesis-export", "Result"),
        operator.verified(),
    )
    assert {} == operator.findings()


def test_collector_can_do_little(machine: Machine) -> None:
    """The collector's user reads no secret and reaches no database; its process has no right and no network."""
    as_collector = "runuser -u evothesis-collector --"
    secret = machine.shell(f"{as_collector} cat /etc/evothesis/secrets/serve.encrypted/admin.token")
    database = machine.shell(f"{as_collector} psql -h /run/postgresql -U evothesis -c 'select 1' evothesis")
    pid = machine.property("evothesis-collector", "MainPID")
    status = machine.shell(f"cat /proc/{pid}/status")
    routes = machine.shell(f"nsenter --target={pid} --net cat /proc/net/route")

    assert ("Permission denied" in secret, "FATAL" in database) == (True, True)
    assert ("CapBnd:\t0000000000000000" in status, "NoNewPrivs:\t1" in status) == (True, True)
    assert 1 == routes.count("\n"), routes


def test_restarts_refuse_nobody(machine: Machine, operator: Operator, wire: Wire, record_property: Record) -> None:
    """While collector and loader restart every event is taken, and stored once."""
    before = operator.stored()
    with wire.sending() as sent:
        for unit in ("evothesis-collector", "evothesis-loader", "evothesis-collector"):
            time.sleep(2)
            machine.shell(f"systemctl restart {unit}")
        time.sleep(2)

    record_property("requests during three restarts, and refused ones", (sent.taken, sent.others))
    assert {} == sent.others
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)


@pytest.mark.parametrize("victim", ["evothesis-collector", "evothesis-loader", "postgresql@15-main"])
def test_kills(machine: Machine, operator: Operator, wire: Wire, victim: str) -> None:
    """Whoever is killed comes back by himself; each event that was taken is stored, and none twice."""
    before = operator.stored()
    with wire.sending() as sent:
        time.sleep(1)
        machine.shell(f"systemctl kill --kill-whom=main --signal=KILL {victim}")
        eventually(lambda: machine.property(victim, "ActiveState") == "active", timeout=60)
        time.sleep(1)

    assert sent.taken > 0
    known = sent.taken + sum(sent.others.values())  # an answer that a kill has cut off may have been a yes
    eventually(lambda: before + sent.taken <= operator.stored() <= before + known, timeout=60)


def test_stops(machine: Machine, operator: Operator, wire: Wire) -> None:
    """A stopped loader delays events, a stopped collector is started by the next visitor; nobody is refused."""
    before = operator.stored()
    machine.shell("systemctl stop evothesis-loader.socket evothesis-loader evothesis-collector")
    with wire.sending() as sent:
        eventually(lambda: machine.property("evothesis-collector", "ActiveState") == "active", timeout=60)
    machine.shell("systemctl start evothesis-loader")

    assert {} == sent.others
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)


@pytest.mark.parametrize("unit", ["evothesis-collector", "evothesis-loader"])
def test_watchdog(machine: Machine, wire: Wire, unit: str) -> None:
    """A service that stands still is killed and started again by systemd; who asks meanwhile waits."""
    before = int(machine.property(unit, "NRestarts"))
    machine.shell(f"systemctl kill --kill-whom=main --signal=STOP {unit}")
    eventually(lambda: int(machine.property(unit, "NRestarts")) > before, timeout=WATCHDOG_SECONDS_MAX)

    assert "Watchdog timeout" in machine.shell(f"journalctl --no-pager --unit={unit}")
    assert {} == wire.send().others


def test_upgrade(machine: Machine, operator: Operator, wire: Wire, newer: Path, record_property: Record) -> None:
    """The next version is installed under load: nobody is refused, each event is stored once, the schema is its own."""
    machine.shell("systemctl start evothesis-backup")
    before = operator.stored()
    with wire.sending() as sent:
        operator.install(newer)

    record_property("requests during the upgrade, and refused ones", (sent.taken, sent.others))
    assert {} == sent.others
    assert f"evothesis {NEWER_VERSION}\n" == machine.shell("evothesis --version")
    assert "up to date\n" == machine.shell("evothesis migrate --check")
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)


def test_way_back(
    machine: Machine, operator: Operator, wire: Wire, packages: Packages, record_property: Record
) -> None:
    """Back to the version before, under load: events wait for a restore of its last backup, and then all are there."""
    machine.shell("systemctl start evothesis-export")
    before = operator.stored()
    with wire.sending() as sent:
        operator.install(packages.deb)
    more = wire.send()
    eventually(lambda: "which this version does not know" in machine.shell("curl --silent 127.0.0.1:8001/health"))
    machine.shell(
        "systemctl stop evothesis-loader.socket evothesis-loader evothesis-export.timer evothesis-backup.timer"
    )
    refused = machine.run("evothesis", "restore")
    restored = machine.run("evothesis", "restore", "--overwrite")
    machine.shell("systemctl start evothesis-loader evothesis-export.timer evothesis-backup.timer")

    record_property("requests during the way back, and refused ones", (sent.taken, sent.others))
    assert ({}, {}) == (sent.others, more.others)
    assert (1, 0) == (refused.returncode, restored.returncode), restored.stderr
    total = before + sent.taken + more.taken
    eventually(lambda: operator.stored() == total, timeout=60)
    machine.shell("systemctl start evothesis-export")
    assert (True, total) == operator.verified()


def test_reboot(machine: Machine, operator: Operator, wire: Wire) -> None:
    """After a reboot all of it runs, without anybody."""
    before = operator.stored()
    machine.switch_off()
    machine.boot()
    wire.lay()

    sent = wire.send()

    assert {} == sent.others
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)


def test_uninstall(machine: Machine) -> None:
    """Services go with the package, events stay; with --purge those go too."""
    removed = machine.run("apt-get", "remove", "--yes", "evothesis")
    services = machine.shell("systemctl list-units --all --no-legend 'evothesis*'")
    spool = machine.shell("ls /var/lib/evothesis/spool")

    assert (0, "", True) == (removed.returncode, services, bool(spool)), removed.stdout + removed.stderr
    assert "No such file" in machine.shell("ls /opt/evothesis")


def test_single_file(machine: Machine, operator: Operator, packages: Packages, wire: Wire) -> None:
    """The single file, put in the command's place, goes on with what is there; and takes it away when it is told to."""
    operator.put(packages.pyz, "/usr/local/bin/evothesis")
    operator.init()
    before = eventually(lambda: operator.stored() > 0 and operator.stored(), timeout=60)
    sent = wire.send()
    eventually(lambda: operator.stored() == before + sent.taken, timeout=60)
    purged = machine.run("evothesis", "init", "--uninstall", "--purge")

    assert ({}, 0) == (sent.others, purged.returncode), purged.stderr
    assert "No such file" in machine.shell("ls /etc/evothesis")
    assert "" == operator.database("select 1 from pg_database where datname = 'evothesis'")

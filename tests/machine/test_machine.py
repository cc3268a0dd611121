"""From a bare Debian to a service, on a systemd that runs: installed, used, hurt, restored, rebooted, taken away.

The tests are one story: each goes on where the one before it ended.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.appliance import eventually
from tests.machine.conftest import Machine
from tests.test_systemd import EXPOSURE_MAX

pytestmark = [pytest.mark.machine, pytest.mark.long, pytest.mark.timeout(900)]

FIRST_EVENT_SECONDS_MAX = 300
WATCHDOG_SECONDS_MAX = 60
ANSWERS = """\
instance = "acme"
host = "collect.example.com"

[[export.destination]]
name = "client"
url = "file:/srv/events"
"""
COUNT = 'curl -s -H "Authorization: Bearer $(cat /etc/evothesis/secrets/serve/admin.token)" 127.0.0.1:8001/events/count'
# four senders with a new connection for each event, none of which tries again; prints how many were answered, and not
SEND = """
import http.client, json, sys, threading, time, uuid
end, answers, lock = time.time() + float(sys.argv[1]), {True: 0, False: 0}, threading.Lock()
def send():
    while time.time() < end:
        body = json.dumps({"eventType": "click", "siteId": "shop.example.com", "eventId": uuid.uuid4().hex})
        headers = {"Content-Type": "application/json", "X-Forwarded-For": f"198.51.100.{uuid.uuid4().int % 250}"}
        connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
        try:
            connection.request("POST", "/collect", body, headers)
            was_taken = connection.getresponse().status == 200
        except OSError:
            was_taken = False
        connection.close()
        with lock:
            answers[was_taken] += 1
        time.sleep(0.02)
threads = [threading.Thread(target=send) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps([answers[True], answers[False]]))
"""


def stored(machine: Machine) -> int:
    """How many events the operator's API counts."""
    return int(json.loads(machine.shell(COUNT) or '{"total": -1}')["total"])


def send(machine: Machine, seconds: float) -> list[int]:
    """Send for a while: how many events were taken, and how many were not."""
    done = machine.run("python3", "-", str(seconds), text=SEND)
    found: list[int] = json.loads(done.stdout)
    return found


def findings(machine: Machine) -> dict[str, Any]:
    """What the doctor has found that needs a person."""
    found = json.loads(machine.run("evothesis", "doctor", "--format", "json").stdout)["findings"]
    return {one["subject"]: one["found"] for one in found if one["state"] == "act"}


def test_first_event(machine: Machine, record_property: Callable[[str, object], None]) -> None:
    """One command makes a running service of a bare machine, within five minutes to the first stored event."""
    (machine.folder / "root/acme.toml").write_text(ANSWERS)
    began = time.monotonic()
    done = machine.run("evothesis", "init", "--answers", "/root/acme.toml")
    assert 0 == done.returncode, done.stdout + done.stderr
    taken, refused = send(machine, 0.1)
    eventually(lambda: stored(machine) == taken, timeout=60)
    seconds = time.monotonic() - began

    record_property("seconds from a bare machine to the first event stored", round(seconds))
    assert seconds < FIRST_EVENT_SECONDS_MAX
    assert (0, 0) == (refused, machine.shell("systemctl --failed --no-legend").count("\n"))


@pytest.mark.parametrize("job", ["export", "backup", "drill"])
def test_jobs(machine: Machine, job: str) -> None:
    """What timers start works as its own user, in its sandbox."""
    said = machine.shell(f"systemctl start evothesis-{job}")

    journal = machine.shell(f"journalctl --no-pager -u evothesis-{job}")
    assert ("", "success") == (said, machine.property(f"evothesis-{job}.service", "Result")), journal


def test_well(machine: Machine) -> None:
    """The doctor finds nothing that needs a person; systemd judges each service as it was judged before."""
    exposed = {name: machine.shell(f"systemd-analyze security --no-pager {name}.service") for name in EXPOSURE_MAX}

    assert {} == findings(machine)
    levels = {name: float(text.rpartition(": ")[2].split()[0]) for name, text in exposed.items()}
    assert {} == {name: level for name, level in levels.items() if level > EXPOSURE_MAX[name]}


def test_collector_can_do_little(machine: Machine) -> None:
    """The collector's user reads no secret and reaches no database; its process has no right and no network."""
    as_collector = "runuser -u evothesis-collector --"
    secret = machine.shell(f"{as_collector} cat /etc/evothesis/secrets/serve/admin.token")
    database = machine.shell(f"{as_collector} psql -h /run/postgresql -U evothesis -c 'select 1' evothesis")
    pid = machine.property("evothesis-collector", "MainPID")
    status = machine.shell(f"cat /proc/{pid}/status")
    addresses = machine.shell(f"nsenter --target={pid} --net cat /proc/net/route")

    assert ("Permission denied" in secret, "FATAL" in database) == (True, True)
    assert ("CapBnd:\t0000000000000000" in status, "NoNewPrivs:\t1" in status) == (True, True)
    assert 1 == addresses.count("\n"), addresses


def test_restarts_refuse_nobody(machine: Machine) -> None:
    """While collector and loader restart every event is taken, and stored once."""
    before = stored(machine)
    units = "evothesis-collector evothesis-loader evothesis-collector"
    (machine.folder / "root/restart.sh").write_text(f"for unit in {units}; do sleep 2; systemctl restart $unit; done")
    machine.shell("systemd-run --quiet /bin/sh /root/restart.sh")

    taken, refused = send(machine, 25)

    assert 0 == refused
    eventually(lambda: stored(machine) == before + taken, timeout=60)


def test_watchdog(machine: Machine) -> None:
    """A collector that stands still is killed and started again; who asks meanwhile waits."""
    machine.shell("kill -STOP $(systemctl show --value --property=MainPID evothesis-collector)")

    eventually(lambda: machine.property("evothesis-collector", "NRestarts") == "1", timeout=WATCHDOG_SECONDS_MAX)
    taken, refused = send(machine, 0.1)
    assert (True, 0) == (taken > 0, refused)


def test_restore_then_continue(machine: Machine) -> None:
    """The backup is restored while events come in; what came after it is loaded again, and delivered once."""
    before = stored(machine)
    timers = "evothesis-export.timer evothesis-backup.timer"
    machine.shell(f"systemctl stop evothesis-loader.socket evothesis-loader {timers}")
    refused = machine.run("evothesis", "restore")
    restored = machine.run("evothesis", "restore", "--overwrite")
    taken, _ = send(machine, 0.1)
    machine.shell(f"systemctl start evothesis-loader {timers}")

    eventually(lambda: stored(machine) == before + taken, timeout=60)
    machine.shell("systemctl start evothesis-export")
    verified = json.loads(machine.shell("evothesis export verify file:/srv/events --format json"))
    assert (1, 0) == (refused.returncode, restored.returncode), restored.stderr
    assert (True, before + taken) == (verified["ok"], verified["rows"])


def test_reboot(machine: Machine) -> None:
    """After a reboot all of it runs, without anybody."""
    before = stored(machine)
    machine.switch_off()
    machine.boot()

    taken, refused = send(machine, 0.1)

    assert 0 == refused
    eventually(lambda: stored(machine) == before + taken, timeout=60)


def test_uninstall(machine: Machine) -> None:
    """Services go, events stay; with --purge those go too."""
    kept: subprocess.CompletedProcess[str] = machine.run("evothesis", "init", "--uninstall")
    services = machine.shell("systemctl list-units --all --no-legend 'evothesis*'")
    spool = machine.shell("ls /var/lib/evothesis/spool")
    purged = machine.run("evothesis", "init", "--uninstall", "--purge")

    assert (0, 0) == (kept.returncode, purged.returncode), kept.stderr + purged.stderr
    assert ("", True) == (services, bool(spool))
    assert "No such file" in machine.shell("ls /etc/evothesis")
    assert "" == machine.shell(
        "runuser -u postgres -- psql -Atc \"select 1 from pg_database where datname='evothesis'\""
    )

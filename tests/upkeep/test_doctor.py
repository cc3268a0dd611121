"""Doctor: an appliance, whole and broken in, findings out."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evothesis import pg
from evothesis.spool.frame import MAGICS_NEWER
from evothesis.upkeep import stored
from evothesis.upkeep.finding import State
from tests.appliance import Appliance
from tests.fix_appliance import MakeAppliance
from tests.fix_postgres import DebianPostgres
from tests.fix_s3 import Bucket

GIGABYTE = 2**30


def doctor(appliance: Appliance) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what was found by its subject; of several about one thing the worst."""
    done = appliance.cli("doctor", "--format", "json")
    assert done.stdout, done.stderr
    findings = json.loads(done.stdout)["findings"]
    order = {"ok": 0, "note": 1, "act": 2}
    return done.returncode, {one["subject"]: one for one in sorted(findings, key=lambda one: order[one["state"]])}


def acts(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What needs a person."""
    return {name: one["found"] for name, one in findings.items() if one["state"] == "act"}


@pytest.fixture
def commands(make_appliance: MakeAppliance, database: str, bucket: Bucket) -> Appliance:
    """An appliance that is not served, with a database and a bucket."""
    settings = {"database": {"url": database}, "export": {"destination": [bucket.destination()]}}
    return make_appliance(settings, start=False)


def test_well(make_appliance: MakeAppliance) -> None:
    """Of an appliance that runs and has a backup nothing needs a person; the table says so too, in 80 columns."""
    appliance = make_appliance()
    appliance.config_path.chmod(0o600)
    appliance.rows("insert into audit_log (actor, action, details) values ('test', 'backup', '{}') returning 1")

    code, findings = doctor(appliance)
    shown = appliance.cli("doctor")

    assert (0, {}) == (code, acts(findings))
    assert {"version", "database", "durability", "schema", "books", "export client", "bucket client"} <= findings.keys()
    assert (0, True) == (shown.returncode, shown.stdout.endswith("All is well.\n"))
    assert [] == [line for line in shown.stdout.splitlines() if len(line) > 80]


def test_not_running(commands: Appliance, bucket: Bucket) -> None:
    """What does not run, was never backed up, and lies open to others is said, each with what to do."""
    commands.config_path.chmod(0o644)

    code, findings = doctor(commands)

    assert (1, {"secrets", "collector", "loader", "backup"}) == (code, set(acts(findings)))
    assert [] == [name for name, one in findings.items() if one["state"] == "act" and not one["todo"]]
    assert {"README.md"} == bucket.objects().keys()


def test_wrong_key(make_appliance: MakeAppliance, database: str, bucket: Bucket) -> None:
    """Credentials are really tried."""
    wrong = bucket.destination(secret_access_key="wrong")
    missing = bucket.destination("other", url="s3://bucket-nowhere/prefix")
    settings = {"database": {"url": database}, "export": {"destination": [wrong, missing]}}

    _, findings = doctor(make_appliance(settings, start=False))

    assert "act" == findings["bucket client"]["state"]
    assert "secret_access_key" in findings["bucket client"]["todo"]
    assert "act" == findings["bucket other"]["state"]


@pytest.mark.long
def test_no_database(make_appliance: MakeAppliance, own_postgres: DebianPostgres) -> None:
    """A database that is away is one finding; what can be looked at without it is."""
    url = own_postgres.new_database()
    own_postgres.stop()

    code, findings = doctor(make_appliance({"database": {"url": url}}, start=False))

    assert (1, True, "ok") == (code, "database" in acts(findings), findings["bucket client"]["state"])


def test_unsafe_database(make_appliance: MakeAppliance, own_postgres: DebianPostgres) -> None:
    """A PostgreSQL that does not wait for its disk breaks the promise; a schema that is missing is named."""
    url = own_postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter system set fsync = off")
        connection.execute("select pg_reload_conf()")

    _, findings = doctor(make_appliance({"database": {"url": url}}, start=False))

    assert "fsync is off: what was acknowledged may be lost" == acts(findings)["durability"]
    assert "run `evothesis migrate`" == findings["schema"]["todo"]


def test_unequal_books(commands: Appliance) -> None:
    """A load that is billed otherwise than it was loaded is found, and a writer that stands elsewhere."""
    commands.rows("insert into writers values (1, 5) returning 1")
    commands.rows(
        "insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at, accepted, duplicate,"
        " rejected, withheld, damaged, bytes) values (1, 0, '', now(), now(), now(), 7, 0, 0, 0, 0, 100) returning 1"
    )

    _, findings = doctor(commands)

    assert "1 loads are billed otherwise than loaded, 1 writers stand elsewhere" == acts(findings)["books"]


def test_audit(database: str) -> None:
    """An entry of the audit log that somebody took away is found by the next one."""
    with pg.connect(database, name="test") as connection:
        for _ in range(3):
            connection.execute("insert into audit_log (actor, action, details) values ('test', 'test', '{}')")
        whole = stored.audit(connection)
        connection.execute("alter table audit_log disable trigger all")
        connection.execute("delete from audit_log where audit_id = 2")

        assert (State.OK, State.ACT) == (whole.state, stored.audit(connection).state)
        assert "1 entries are not what they were, from number 3 on" == stored.audit(connection).found


@pytest.mark.long
def test_old_backup(commands: Appliance) -> None:
    """A backup of the day before yesterday, and a drill of last quarter, are too old."""
    commands.rows(
        "insert into audit_log (at, actor, action, details) values (now() - interval '3 days', 'test', 'backup', '{}'),"
        " (now() - interval '90 days', 'test', 'restore drill', '{}') returning 1"
    )

    assert {"backup", "drill"} <= acts(doctor(commands)[1]).keys()


def test_spool_waits(commands: Appliance) -> None:
    """Events that wait for long in vain need a person."""
    (commands.spool / "7").mkdir(parents=True)
    segment = commands.spool / "7" / f"{0:012d}.sealed"
    segment.write_bytes(b"x")
    an_hour_ago = time.time() - 3600
    os.utime(segment, (an_hour_ago, an_hour_ago))

    assert "for 60 minutes" in acts(doctor(commands)[1])["spool"]


def test_newer_segment(commands: Appliance) -> None:
    """A segment that a newer version left open is named, and what to do, though no loader can tell."""
    (commands.spool / "7").mkdir(parents=True)
    (commands.spool / "7" / f"{0:012d}.open").write_bytes(MAGICS_NEWER[0] + b"a segment")

    finding = doctor(commands)[1]["spool"]

    assert ("act", True) == (finding["state"], "000000000000.open was written by a newer version" in finding["found"])
    assert finding["todo"].startswith("upgrade evothesis again")


@pytest.mark.parametrize(
    ("a_day", "days", "free", "state"),
    [
        (1 * GIGABYTE, 80, 100 * GIGABYTE, State.OK),
        (2 * GIGABYTE, 80, 100 * GIGABYTE, State.ACT),
        (2 * GIGABYTE, 0, 1 * GIGABYTE, State.OK),
    ],
    ids=["lasts", "does not last", "days are dropped already"],
)
def test_forecast(a_day: float, days: int, free: float, state: State) -> None:
    """A disk must last until old days are dropped."""
    assert state == stored.forecast(a_day, days, free).state


@pytest.mark.long
def test_configuration_is_named(commands: Appliance, tmp_path: Path) -> None:
    """The file that was read is named."""
    _, findings = doctor(commands)

    assert commands.config_path.is_relative_to(tmp_path)
    assert f"{commands.config_path}, instance test" == findings["configuration"]["found"]

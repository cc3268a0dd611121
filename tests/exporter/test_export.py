"""Export: what a run delivers, what a second one does not, and what makes it refuse."""

from __future__ import annotations

import json
import os
import pty
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from evothesis.errors import HistoryError
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import HOUR, delivered, events, exported, in_order, listed, manifests
from tests.exporter.test_crash import begin


def states(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that can be seen to change of the files in a folder."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_command(exporting: Exporting) -> None:
    """The command delivers, and prints what it published as JSON alone."""
    exporting.database.load(events(10), segment_no=0)
    done = exporting.appliance.cli("export", "--format", "json")
    (key,) = listed(exporting.bucket.objects())

    assert 0 == done.returncode, done.stderr
    size_bytes = len(exporting.bucket.objects()[key])
    published = {"destination": "client", "manifest": 1, "rows": 10, "files": 1, "bytes": size_bytes}
    assert {"exports": [published], "pending": 0} == json.loads(done.stdout)


def test_table(exporting: Exporting) -> None:
    """For people the command prints a table, and says so when there is nothing to do."""
    exporting.database.load(events(10), segment_no=0)
    first, second = (exporting.appliance.cli("export") for _ in range(2))

    assert (0, 0) == (first.returncode, second.returncode)
    assert "client" in first.stdout
    assert "Nothing new to deliver" in second.stdout


def test_terminal(exporting: Exporting) -> None:
    """A terminal sees a bar of the files that are delivered; elsewhere there is a line for each, and no bar."""
    exporting.database.load(events(10), segment_no=0)
    with_lines = exporting.appliance.cli("export")
    exporting.database.load(events(10, seed=1), segment_no=1)
    leader, follower = pty.openpty()
    try:
        ended = begin(exporting, "/bin/sh", "-c", f'exec "$0" "$@" 2>{os.ttyname(follower)}').wait(60)
        os.close(follower)
        shown = b""
        with suppress(OSError):  # all was read, and nobody writes any more
            while part := os.read(leader, 4_096):
                shown += part
    finally:
        os.close(leader)

    assert (0, 0) == (ended, with_lines.returncode)
    assert (True, True) == (b"delivering" in shown, re.search(rb"[01]/1\b", shown) is not None)
    assert [] == [text for text in re.findall(rb"(.{3})\d\d:\d\d:\d\d INFO", shown) if text[-1:] not in b"\rK\n"], shown
    assert (False, True) == ("delivering" in with_lines.stderr, "File delivered." in with_lines.stderr)


def test_second_run(exporting: Exporting) -> None:
    """A second run delivers nothing, and touches nothing."""
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    before = states(exporting.appliance.bucket)
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert before == states(exporting.appliance.bucket)


def test_only_what_is_new(exporting: Exporting) -> None:
    """A run delivers the loads that came since the last one, in files of their own."""
    exporting.database.load(events(10), segment_no=0)
    exporting.run()
    first = exporting.bucket.objects()
    exporting.database.load(events(5, seed=1), segment_no=1)
    outcome = exporting.run()
    second = exporting.bucket.objects()

    assert [(2, 5, 1)] == [(line.manifest, line.rows, line.files) for line in outcome.published]
    kept = {key: body for key, body in second.items() if key in first and key != "latest.json"}
    assert {key: body for key, body in first.items() if key != "latest.json"} == kept
    assert in_order(exporting.database.expected) == delivered(second)


def test_hours_writers_and_limit(exporting: Exporting) -> None:
    """Files are cut at hours and at the limit; together they hold each event once."""
    for writer in (1, 2):
        for segment_no in range(6):
            rows = events(10, seed=10 * writer + segment_no)
            hour = HOUR + timedelta(hours=segment_no // 3)
            exporting.database.load(rows, writer=writer, segment_no=segment_no, hour=hour, second=segment_no)
    exporting.deliver_to(rows_max=25)
    outcome = exporting.run()
    objects = exporting.bucket.objects()

    files = manifests(objects)[0]["files"]
    assert [20, 20, 20, 20, 20, 20] == [file["rows"] for file in files]
    assert ["hr=09"] * 3 + ["hr=10"] * 3 == [file["key"].split("/")[2] for file in files]
    assert [(1, 120, 6)] == [(line.manifest, line.rows, line.files) for line in outcome.published]
    assert in_order(exporting.database.expected) == delivered(objects)


def test_empty_hour(exporting: Exporting) -> None:
    """Loads without an event have no file; the manifest says that they are not missing."""
    exporting.database.load([], segment_no=0)
    exporting.database.load([], segment_no=1, hour=HOUR + timedelta(hours=1))
    outcome = exporting.run()
    (document,) = manifests(exporting.bucket.objects())

    assert [(1, 0, 0, 0)] == [(line.manifest, line.rows, line.files, line.bytes) for line in outcome.published]
    assert ([], {}) == (document["files"], document["rows_by_site"])
    loads = [{"writer": 1, "first": 0, "last": 0}, {"writer": 1, "first": 1, "last": 1}]
    assert loads == document["loads"]
    assert [] == exporting.run().published


def test_nothing_stored_yet(exporting: Exporting) -> None:
    """Without a load there is nothing to deliver, and no bucket is made."""
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert {} == exporting.bucket.objects()


def test_clock_set_back(exporting: Exporting) -> None:
    """A clock that is set back over an hour's edge delays nothing: a later load may have an earlier hour."""
    exporting.database.load(events(3), segment_no=0, hour=HOUR + timedelta(hours=1))
    exporting.database.load(events(3, seed=1), segment_no=1, second=3_599)
    exporting.database.load(events(3, seed=2), segment_no=2, hour=HOUR + timedelta(hours=1), second=1)
    outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())


@pytest.mark.parametrize("partly", [True, False], ids=["some events", "all events"])
def test_missing_partition(exporting: Exporting, *, partly: bool) -> None:
    """Where stored events are gone from the database, the export refuses instead of delivering less."""
    tomorrow = HOUR + timedelta(days=1)
    exporting.database.load(events(3), segment_no=0)
    exporting.database.load(events(3, seed=1), segment_no=1, hour=tomorrow)
    connection = exporting.database.connection
    if partly:
        connection.execute("delete from events_log where segment_no = 1 and idx = 1")
    else:
        connection.execute("drop table events_log_20261123")
    outcome = exporting.run()

    assert (["client"], 1) == (list(outcome.failed), outcome.pending)
    assert "events/dt=2026-11-23" in str(outcome.failed["client"])
    assert outcome.failed["client"].hint
    objects = exporting.bucket.objects()
    assert [3] == [document["rows"] for document in manifests(objects)]
    assert [] == [key for key in objects if "2026-11-23" in key]


def test_foreign_object(exporting: Exporting) -> None:
    """An object that somebody else put under our key is never overwritten; everything before it is published."""
    exporting.database.load(events(3), segment_no=0)
    exporting.database.load(events(3, seed=1), segment_no=1, hour=HOUR + timedelta(hours=1))
    exporting.deliver_to(LOCAL | {"url": "file:var/elsewhere"})
    exporting.run()
    (theirs,) = [key for key in listed(_elsewhere(exporting)) if "hr=10" in key]
    foreign = exporting.appliance.bucket / theirs
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"not ours")
    exporting.deliver_to(LOCAL | {"name": "second"})
    failed = exporting.run().failed

    assert ["second"] == list(failed)
    assert theirs in str(failed["second"])
    assert failed["second"].hint
    objects = exporting.bucket.objects()
    assert b"not ours" == objects[theirs]
    assert [3] == [document["rows"] for document in manifests(objects)]


def test_foreign_object_of_the_same_content(exporting: Exporting) -> None:
    """An object that is there already and is right, as after a crash, counts as delivered."""
    exporting.database.load(events(3), segment_no=0)
    exporting.deliver_to(LOCAL | {"url": "file:var/elsewhere"})
    exporting.run()
    elsewhere = _elsewhere(exporting)
    (key,) = listed(elsewhere)
    there = exporting.appliance.bucket / key
    there.parent.mkdir(parents=True)
    there.write_bytes(elsewhere[key])
    exporting.deliver_to(LOCAL | {"name": "second"})
    outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())


@pytest.mark.parametrize(("rows", "said"), [(3, "other segments"), (0, "without a row")])
def test_machine_set_back(exporting: Exporting, rows: int, said: str) -> None:
    """Other events under numbers that the bucket knows are not taken for delivered: the export stops, and says why."""
    exporting.database.load(events(rows, seed=1), segment_no=0)
    exporting.run()
    exporting.database.forget()
    exporting.database.load(events(3, seed=2), segment_no=0)

    with pytest.raises(HistoryError, match=said):
        exporting.run()


def test_forgotten_delivery(exporting: Exporting) -> None:
    """The same events under the same numbers are known as delivered, and are not delivered again."""
    exporting.database.load(events(3), segment_no=0)
    exporting.run()
    before = exporting.bucket.objects()
    exporting.database.forget()
    exporting.database.load(events(3), segment_no=0)
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert before == exporting.bucket.objects()


def _elsewhere(exporting: Exporting) -> dict[str, bytes]:
    folder = exporting.appliance.folder / "var/elsewhere"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_database_away(exporting: Exporting) -> None:
    """A database that does not answer is worth another try, and the exit code says so."""
    text = exporting.appliance.config_path.read_text()
    exporting.appliance.config_path.write_text(text.replace(exporting.appliance.dsn, "host=/nowhere dbname=none"))
    code, said = exported(exporting.appliance)

    assert (3, True, True) == (code, said.startswith("Error: "), "Try: " in said)


def test_schema_missing(exporting: Exporting) -> None:
    """A database that was never migrated is refused, with what to do."""
    exporting.database.connection.execute("delete from schema_migrations")
    code, said = exported(exporting.appliance)

    assert (1, True) == (code, "Try: run `evothesis migrate`" in said)

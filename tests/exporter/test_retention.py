"""Retention: a day goes when it is old and everywhere, is on record then, and goes never otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import tomli_w

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import events, listed, manifests
from tests.fix_s3 import Bucket

BACKUP = LOCAL | {"name": "backup", "url": "file:var/backup"}


def day(days_ago: int) -> datetime:
    """The begin of a day; today's may change while all tests run."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def query(exporting: Exporting, text: LiteralString) -> list[tuple[Any, ...]]:
    """Ask the database."""
    return exporting.database.connection.execute(text).fetchall()


def days(exporting: Exporting) -> list[date]:
    """Of which days there are events."""
    return [row[0] for row in query(exporting, "select distinct created_at::date from events_log order by 1")]


def fill(exporting: Exporting) -> None:
    """Two loads of a day that is too old, one of the last that is not, one of today; one event was refused."""
    exporting.database.connection.execute("set timezone = 'UTC'")
    for segment_no, hour in enumerate([day(91), day(91) + timedelta(hours=23), day(90), day(0)]):
        exporting.database.load(events(3 + segment_no, seed=segment_no), segment_no=segment_no, hour=hour)
    exporting.database.connection.execute(
        "insert into rejected_events (writer, segment_no, idx, created_at, code, message, event)"
        " values (1, 1, 99, %s, 'c', 'm', 'e')",
        [day(91) + timedelta(hours=23)],
    )


def test_old_day(exporting: Exporting) -> None:
    """A day that is older than 90 days goes after its delivery; which load lost what is on record, usage stays."""
    fill(exporting)
    exporting.run()

    assert [day(90).date(), day(0).date()] == days(exporting)
    recorded = "select writer, segment_no, events, rejected, reason from removed order by segment_no"
    assert [(1, 0, 3, 0, "retention"), (1, 1, 4, 1, "retention")] == query(exporting, recorded)
    assert [(0,)] == query(exporting, "select count(*) from rejected_events")
    accepted = "select sum(accepted) from loads"
    assert query(exporting, accepted) == query(
        exporting, "select (select count(*) from events_log) + (select sum(events) from removed)"
    )
    assert [] == exporting.verify().problems


def test_second_run(exporting: Exporting) -> None:
    """What was removed is not removed again, and not delivered again."""
    fill(exporting)
    exporting.run()
    before = query(exporting, "select * from removed order by 1, 2")
    outcome = exporting.run()

    assert ([], {}, 0) == (outcome.published, outcome.failed, outcome.pending)
    assert before == query(exporting, "select * from removed order by 1, 2")


@pytest.mark.parametrize("missing", ["destination", "format", "load"])
def test_not_everywhere(exporting: Exporting, bucket: Bucket, missing: str) -> None:
    """A day stays while a destination or a format of it is missing, or a load of it that came late."""
    fill(exporting)
    if missing == "destination":
        exporting.deliver_to(LOCAL, bucket.destination("backup", secret_access_key="wrong" * 8))
    if missing == "format":
        foreign = foreign_csv(exporting)
        exporting.deliver_to(LOCAL | {"formats": ["parquet", "csv"]})
    if missing == "load":
        late_load(exporting)
    exporting.run()
    kept = days(exporting)
    if missing == "destination":
        exporting.deliver_to(LOCAL, bucket.destination("backup"))
    if missing == "format":
        foreign.unlink()
    if missing == "load":
        exporting.database.connection.execute("drop trigger late on deliveries")
    assert {} == exporting.run().failed

    assert [day(91).date(), day(90).date(), day(0).date()] == kept
    assert [day(90).date(), day(0).date()] == days(exporting)


def foreign_csv(exporting: Exporting) -> Path:
    """An object of somebody else's where the first CSV file of the old day belongs."""
    elsewhere = LOCAL | {"name": "elsewhere", "url": "file:var/elsewhere", "formats": ["csv"]}
    text = exporting.appliance.config_path.read_text()
    exporting.deliver_to(elsewhere)
    unlimited = {"database": {**exporting.appliance.settings["database"], "retention_days": 10_000}}
    settings = {**exporting.appliance.settings, **unlimited, "export": {"destination": [elsewhere]}}
    exporting.appliance.config_path.write_text(tomli_w.dumps(settings))
    exporting.run()
    exporting.appliance.config_path.write_text(text)
    folder = exporting.appliance.folder / "var/elsewhere"
    (key, *_) = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.csv.gz"))
    path = exporting.appliance.bucket / key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not ours")
    return path


def late_load(exporting: Exporting) -> None:
    """A load of the old day is stored while an export runs, after its plan was made: when a file is published."""
    old = day(91).isoformat()
    exporting.database.connection.execute(f"""
        create function late() returns trigger language plpgsql as $$ begin
          insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at, accepted, duplicate,
                             rejected, withheld, damaged, bytes)
          select 1, 4, ''::bytea, '{old}', '{old}', '{old}', 0, 0, 0, 0, 0, 0
          on conflict do nothing;
          return new;
        end $$;
        create trigger late after update on deliveries for each row when (new.state = 'published')
          execute function late();
    """)


def test_reader(exporting: Exporting) -> None:
    """Somebody who reads the old day delays its end to the next export, and nothing else."""
    fill(exporting)
    with psycopg.connect(exporting.appliance.dsn) as reader:
        reader.execute("select count(*) from events_log")
        outcome = exporting.run()
        kept = days(exporting)
    exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert [day(91).date(), day(90).date(), day(0).date()] == kept
    assert [day(90).date(), day(0).date()] == days(exporting)


def test_rows_that_nobody_delivered(exporting: Exporting) -> None:
    """A day that has other rows than were delivered is kept, and a person is told."""
    fill(exporting)
    exporting.deliver_to()
    exporting.database.connection.execute(
        "create function twice() returns trigger language plpgsql as $$ begin"
        " insert into events_log select * from events_log where segment_no = 0 and idx = 0; return null; end $$;"
        " create trigger twice after insert on manifests execute function twice()"
    )
    done = exporting.appliance.cli("export")

    assert (1, True) == (done.returncode, f"{day(91):%Y-%m-%d} has 8 events of which 7 were delivered" in done.stderr)
    assert [day(91).date(), day(90).date(), day(0).date()] == days(exporting)
    assert [] == query(exporting, "select * from removed")


def test_new_destination(exporting: Exporting) -> None:
    """A destination that comes after a day went gets the rest, under a chain that is sound."""
    fill(exporting)
    exporting.run()
    exporting.deliver_to(BACKUP, LOCAL)
    outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    report = exporting.verify()
    assert ([], 5 + 6) == (report.problems, report.rows)
    exporting.deliver_to(LOCAL)
    assert 3 + 4 + 5 + 6 == exporting.verify().rows


def test_view(exporting: Exporting) -> None:
    """People who query the view see what is left."""
    fill(exporting)
    exporting.run()

    assert [(11,)] == query(exporting, "select count(*) from events where processed_at is not null")
    objects = exporting.bucket.objects()
    assert 4 == len(listed(objects))
    assert [18] == [document["rows"] for document in manifests(objects)]

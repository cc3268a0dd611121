"""The judge is judged: a fault put into what was stored, delivered or answered is found, and called by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg
import pytest
from psycopg import sql

from evothesis.appliance.postgres import Postgres
from tests.appliance import Appliance
from tests.fix_oracle import Oracle
from tests.invariants import broken
from tests.oracle.journal import Journal

SEED = 4
DATABASE = "with_a_fault"

IN_DATABASE: dict[LiteralString, tuple[str, LiteralString]] = {
    "lost": ("no loss", "delete from events_log where idx = 0"),
    "invented": ("no invention", """update events_log set raw_event_data = '{"mark": "e9n9"}' where idx = 1"""),
    "refused": ("no invention", """update events_log set raw_event_data = '{"mark": "refused"}' where idx = 1"""),
    "twice": ("once", "insert into events_log select * from events_log where idx = 0"),
    "twice under other names": ("once", ("insert into events_log select writer, segment_no, idx + 100000, created_at, "
        "event_id, event_type, session_id, visitor_id, site_id, timestamp, url, path, user_agent, ip_address, "
        "raw_event_data from events_log where idx = 0")),
    "changed content": ("same bytes", """update events_log set raw_event_data = raw_event_data || '{"data": 1}'"""),
    "changed column": ("same bytes", "update events_log set session_id = session_id || ' '"),
    "changed time": ("same bytes", "update events_log set timestamp = timestamp + interval '1 microsecond'"),
    "not delivered": ("export", "update events_log set idx = idx + 100000 where idx = 0"),
    "billed too much": ("billing", "update usage_ledger set accepted = accepted + 1"),
    "billed elsewhere": ("billing", "update usage_ledger set site_id = site_id || '.'"),
    "counted as another type": ("billing", "update usage_types set event_type = event_type || '.'"),
    "counted wrongly": ("billing", "update loads set accepted = accepted + 1"),
    "duplicates lost": ("billing", "update usage_ledger set duplicate = 0"),
    "load lost": ("billing", "delete from loads where segment_no = 0"),
    "position lost": ("billing", "update writers set next_segment_no = next_segment_no - 1"),
    "rejected lost": ("billing", "delete from rejected_events"),
    "removed wrongly": ("removed", ("with gone as (delete from events_log where segment_no = 0 returning writer) "
        "insert into removed (writer, segment_no, events, rejected, reason) "
        "select writer, 0, count(*) - 1, 0, 'test' from gone group by writer limit 1")),
    "damaged": ("no loss", "update loads set damaged = 1"),
}  # fmt: skip


REMOVAL = """
with events as (
  delete from events_log where segment_no = 0 returning writer
), refused as (
  delete from rejected_events where segment_no = 0 returning writer
)
insert into removed (writer, segment_no, events, rejected, reason)
select writer, 0, (select count(*) from events where events.writer = writers.writer),
       (select count(*) from refused where refused.writer = writers.writer), 'test'
  from writers
"""


def rewrite(path: Path, **changes: object) -> None:
    """Change members of a JSON file, in the form in which a manifest is signed."""
    document = json.loads(path.read_bytes()) | changes
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def flip_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


IN_BUCKET: dict[str, Callable[[Path], object]] = {
    "data lost": lambda bucket: next(bucket.rglob("*.parquet")).unlink(),
    "data changed": lambda bucket: flip_bit(next(bucket.rglob("*.parquet"))),
    "first manifest lost": lambda bucket: (bucket / "manifests/00000001.json").unlink(),
    "last manifest lost": lambda bucket: (bucket / "manifests/00000002.json").unlink(),
    "old latest.json": lambda bucket: rewrite(bucket / "latest.json", manifest=1),
    "rows changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", rows=1),
    "sites changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", rows_by_site={}),
    "loads changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", loads=[]),
    "files changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", files=[]),
    "chain cut": lambda bucket: rewrite(bucket / "manifests/00000002.json", previous_sha256=None),
    "sequence changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", sequence=3),
    "instance changed": lambda bucket: rewrite(bucket / "manifests/00000002.json", instance="other"),
}


class World(NamedTuple):
    """What a run left behind, all of it sound."""

    server: Postgres
    journal: Path
    bucket: Path
    usage: dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[World]:
    """Some hundred events, stored and delivered under two manifests by an appliance that has stopped since."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(postgres_template, folder / "var/postgres/data")
    appliance = Appliance(folder).start()
    oracle = Oracle(appliance.url + "/collect", folder / "journal.jsonl", seed=SEED)
    for _ in range(2):
        oracle.send(300)
        appliance.wait_until_drained()
        appliance.export()
    usage = appliance.usage()
    oracle.close()
    appliance.stop()
    server = Postgres(folder / "var/postgres")
    assert server.acquire()
    server.start()
    yield World(server, folder / "journal.jsonl", appliance.bucket, usage)
    server.stop()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    """A copy of its database."""
    elsewhere = world.server.url.replace("dbname=postgres", "dbname=template1")
    name = sql.Identifier(DATABASE)
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template postgres").format(name))
        yield elsewhere.replace("template1", DATABASE)
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture
def bucket(world: World, tmp_path: Path) -> Path:
    """A copy of its bucket."""
    shutil.copytree(world.bucket, tmp_path / "bucket")
    return tmp_path / "bucket"


@pytest.fixture
def journal(world: World, tmp_path: Path) -> Path:
    """A copy of its journal."""
    return Path(shutil.copy(world.journal, tmp_path / "journal.jsonl"))


def names(faults: list[str]) -> set[str]:
    """Which invariants are broken."""
    return {fault.partition(":")[0] for fault in faults}


def test_sound(world: World, url: str, bucket: Path, journal: Path) -> None:
    """Nothing is broken where nothing was broken, and there was something to look at."""
    read = Journal(journal).read()

    assert [] == broken(read, url, [bucket], [world.usage])
    assert 500 < len(+read.acked) < 600
    assert len(read.refused) > 0


def test_removed(world: World, url: str, bucket: Path, journal: Path) -> None:
    """Nothing is broken where events were removed on record."""
    with psycopg.connect(url) as connection:
        connection.execute(REMOVAL)

    assert [] == broken(Journal(journal).read(), url, [bucket], [world.usage])


@pytest.mark.parametrize("fault", IN_DATABASE)
def test_fault_in_database(world: World, url: str, bucket: Path, journal: Path, fault: LiteralString) -> None:
    """A fault in a table is found."""
    expected, statement = IN_DATABASE[fault]
    with psycopg.connect(url) as connection:
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        connection.execute(statement)
    append(journal, {"request": 10**6, "marks": ["refused"], "invalid": ["refused"], "text": None})
    append(journal, {"request": 10**6, "answer": "refused", "status": 400})

    assert expected in names(broken(Journal(journal).read(), url, [bucket], [world.usage]))


def test_wrong_bill(world: World, url: str, bucket: Path, journal: Path) -> None:
    """A bill that counts one event too many, or too much money for it, is found."""
    read = Journal(journal).read()
    counted = world.usage | {"events": world.usage["events"] + 1}
    priced = world.usage | {"amount": "0.02"}

    assert {"billing"} == names(broken(read, url, [bucket], [counted]))
    assert {"billing"} == names(broken(read, url, [bucket], [priced]))


def test_lost_answer(world: World, url: str, bucket: Path, journal: Path) -> None:
    """An acknowledged event that nobody stored is found, and so are answers that contradict what was sent."""
    append(journal, {"request": 10**6, "marks": ["e4n1000000", "bad"], "invalid": ["bad"], "text": None})
    append(journal, {"request": 10**6, "answer": "acked", "accepted": 2, "rejected": []})

    faults = broken(Journal(journal).read(), url, [bucket], [world.usage])

    assert {"no loss", "no invention", "billing"} == names(faults)


@pytest.mark.parametrize("fault", IN_BUCKET)
def test_fault_in_bucket(world: World, url: str, bucket: Path, journal: Path, fault: str) -> None:
    """A fault in the chain of manifests, or in what it lists, is found."""
    IN_BUCKET[fault](bucket)

    assert "export" in names(broken(Journal(journal).read(), url, [bucket], [world.usage]))


def append(journal: Path, entry: dict[str, Any]) -> None:
    """Add a line to a journal."""
    with journal.open("a") as file:
        file.write(json.dumps(entry) + "\n")

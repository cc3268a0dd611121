"""The loader on real segments and a real PostgreSQL: each event once, whatever is repeated, missing or damaged."""

from __future__ import annotations

import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import msgspec
import psycopg
import pytest

from evothesis import heartbeat, pg
from evothesis.errors import LoadError
from evothesis.event import COLUMNS
from evothesis.loader.content import read
from evothesis.loader.load import load
from evothesis.loader.run import Loader
from evothesis.spool.segments import sealed
from evothesis.spool.writer import Writer
from tests.appliance import eventually
from tests.fix_world import DAY, LOADS, NOW, STORED, USAGE, WORKING, World, entry, event

AT_ONCE = 4
ENRICHED = COLUMNS[COLUMNS.index("bot_reason") :]


def test_rows(world: World) -> None:
    """Every column holds what the collector knew, under the name of the row's place in the spool."""
    sent = {
        "eventType": "click",
        "eventId": "0193B2F0-0193-7000-8000-0193b2f00193",
        "timestamp": (NOW - DAY).isoformat(),
        "sessionId": "s",
        "visitorId": "v",
        "siteId": "a.example",
        "url": "https://a.example/x",
        "path": "/x",
        "data": {"deep": [1, None, "é\t\\N"]},
    }
    world.put(entry(event(1)), entry(event(2), sent))

    world.load()

    query = "select *, event_id::text as event_id, host(ip_address) as ip_address from events_log where idx = 2"
    assert [
        {
            "writer": world.writer.writer,
            "segment_no": 0,
            "idx": 2,
            "created_at": NOW,
            "event_id": "0193b2f0-0193-7000-8000-0193b2f00193",
            "event_type": "click",
            "session_id": "s",
            "visitor_id": "v",
            "site_id": "a.example",
            "timestamp": NOW - DAY,
            "url": "https://a.example/x",
            "path": "/x",
            "user_agent": "Agent/1.0",
            "ip_address": "192.0.2.0",
            "raw_event_data": sent,
            "event_id_reused": False,
            "is_bot": False,
            **dict.fromkeys(ENRICHED),
        }
    ] == world.rows(query)


def test_loaded_twice(world: World, tmp_path: Path) -> None:
    """A segment whose load was committed, and which is met again, is stored once."""
    path = world.put(entry(event(1), event(2)))
    shutil.copy(path, tmp_path / "copy")
    world.load()
    before = world.rows(STORED), world.rows(LOADS), world.rows(USAGE)
    shutil.copy(tmp_path / "copy", path)
    world.load()

    assert before == (world.rows(STORED), world.rows(LOADS), world.rows(USAGE))
    assert [] == sealed(world.spool)


def test_gap(world: World, tmp_path: Path) -> None:
    """A writer whose next segment is missing waits, and says for which; the others go on; nothing is left out."""
    other = Writer.claim(world.spool)
    world.put(entry(event(1)))
    missing = world.put(entry(event(2)))
    world.put(entry(event(3)))
    world.put(entry(event(5)))
    world.put(entry(event(4)), writer=other)
    missing.rename(tmp_path / "missing")
    stop = threading.Event()
    thread = threading.Thread(target=world.loader(stop).run)
    thread.start()

    def reason() -> str | None:
        beat = heartbeat.read(world.spool)
        return beat.spool_error if beat else None

    try:
        said = eventually(reason)
        meanwhile = world.stored()
        (tmp_path / "missing").rename(missing)
        eventually(lambda: reason() is None)
    finally:
        stop.set()
        thread.join()
        other.close()

    assert f"segment 1 of writer {world.writer.writer} is missing from the spool" == said
    assert [1, 4] == sorted(number for number, _ in meanwhile)
    assert [1, 2, 3, 4, 5] == sorted(number for number, _ in world.stored())


def test_damage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged frame is counted and reported, its file is kept, and the events around it are stored."""
    path = world.put(entry(event(1)), entry(event(2)), entry(event(3)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    world.load()

    assert [(1, False), (3, False)] == world.stored()
    assert [(2, 1)] == world.loads("accepted", "damaged")
    assert [bytes(data)] == [kept.read_bytes() for kept in world.spool.rglob("*.damaged")]
    assert ["Segment was damaged."] == [one.message for one in caplog.records if one.levelno == logging.ERROR]


def test_nothing_sound(world: World) -> None:
    """A segment without one sound frame is counted too, and the ones behind it are loaded."""
    world.put(entry(event(1))).write_bytes(b"\0" * 100)
    world.put(entry(event(2)))

    world.load()

    assert [(2, False)] == world.stored()
    assert [(0, 0, 1), (1, 1, 0)] == world.loads("segment_no", "accepted", "damaged")


def test_usage(world: World) -> None:
    """What is billed per site and day is what is stored; what is not stored is counted beside it."""
    elsewhere = event(2, site="b.example")
    refused = event(3) | {"timestamp": "yesterday"}
    nameless = {"eventType": "click"}
    world.put(entry(event(1), elsewhere, event(1), withheld={"b.example": 2, "c.example": 1}))
    world.put(entry(event(4), elsewhere, refused, nameless))
    world.put(msgspec.structs.replace(entry(event(5), at=NOW + DAY), unlisted=3))

    world.load()

    today = NOW.date()
    assert [
        ("(unknown)", today, 0, 0, 1, 0),
        ("(unknown)", today + DAY, 0, 0, 3, 0),
        ("a.example", today, 2, 1, 1, 0),
        ("a.example", today + DAY, 1, 0, 0, 0),
        ("b.example", today, 1, 1, 0, 2),
        ("c.example", today, 0, 0, 0, 1),
    ] == [tuple(line.values()) for line in world.rows(USAGE)]
    assert [(2, 1, 0, 3), (1, 1, 2, 0), (1, 0, 3, 0)] == world.loads("accepted", "duplicate", "rejected", "withheld")
    assert 4 == len(world.stored())


def test_rejected(world: World) -> None:
    """What the collector refused is kept with the reason, and is no event."""
    world.put(entry(event(1), event(2) | {"timestamp": "yesterday"}))

    world.load()

    query = "select site_id, code, (event::jsonb) ->> 'timestamp' as timestamp, idx from rejected_events"
    assert [(1, False)] == world.stored()
    assert [{"site_id": "a.example", "code": "timestamp_invalid", "timestamp": "yesterday", "idx": 1}] == world.rows(
        query
    )


def test_second_loader(world: World) -> None:
    """A database has one loader: a second one ends and says why, and the first one goes on."""
    stop = threading.Event()
    thread = threading.Thread(target=world.loader(stop).run)
    thread.start()
    try:
        eventually(lambda: world.rows(WORKING))
        with pytest.raises(LoadError, match="another loader works on this database"):
            world.load()
        world.put(entry(event(1)))
        eventually(lambda: world.stored() == [(1, False)])
    finally:
        stop.set()
        thread.join()


def test_same_segment_at_once(world: World) -> None:
    """Of several that load the same segment at the same time, as loaders without their lock would, one stores it."""
    world.put(entry(event(1), event(2)))
    segment = sealed(world.spool)[0]
    content = read(segment)
    together = threading.Barrier(AT_ONCE)

    def attempt(_number: int) -> bool:
        with pg.connect(world.database, name="test") as connection:
            together.wait()
            return load(connection, segment, content) is not None

    with pg.connect(world.database, name="test") as connection:
        connection.execute("select ensure_partitions(%(day)s)", {"day": content.day})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        is_new = sorted(pool.map(attempt, range(AT_ONCE)))

    assert [*[False] * (AT_ONCE - 1), True] == is_new
    assert [(1, False), (2, False)] == world.stored()
    assert [(2, 0)] == world.loads("accepted", "duplicate")


def test_stopped_without_database(world: World) -> None:
    """A loader that is told to stop while its database is away ends, and leaves what waits where it is."""
    path = world.put(entry(event(1)))
    stop = threading.Event()
    stop.set()

    Loader(f"host={world.spool}", world.settings, stop, lambda: None).run()

    beat = heartbeat.read(world.spool)
    assert beat
    assert (1, True) == (beat.waiting, "cannot connect" in str(beat.database_error))
    assert path.exists()


def test_name_with_other_content(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A name that comes back with other events is not taken for loaded: its writer waits, and says so."""
    kept = world.put(entry(event(1))).read_bytes()
    world.load()
    path = world.put(entry(event(2)))
    path.rename(path.with_name("000000000000.sealed"))

    world.load()

    assert [(1, False)] == world.stored()
    assert ["Writer waits."] == [one.message for one in caplog.records if one.levelno == logging.ERROR]
    assert ["000000000000.sealed"] == [segment.path.name for segment in sealed(world.spool)]
    assert [kept] == [one.read_bytes() for one in world.spool.rglob("*.loaded")]


def test_poison(world: World) -> None:
    """A row that the database cannot hold is put aside, counted and not billed; the others are stored."""
    poisoned = entry(event(2))
    poisoned.rows[0] = msgspec.structs.replace(poisoned.rows[0], line=b"not a row")
    world.put(entry(event(1)), poisoned, entry(event(3)))
    world.put(entry(event(4)))

    world.load()

    assert [(1, False), (3, False), (4, False)] == world.stored()
    assert [(2, 1), (1, 0)] == world.loads("accepted", "rejected")
    assert [{"code": "unstorable", "idx": 1}] == world.rows("select code, idx from rejected_events")


def test_older_database(world: World) -> None:
    """A database that was restored from an older backup is filled up from the segments that were kept."""
    for number in range(3):
        world.put(entry(event(number)))
        world.load()
    before = world.rows(STORED), world.rows(LOADS), world.rows(USAGE)
    with psycopg.connect(world.database) as connection:
        # what a backup that was taken after the first segment would hold
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        connection.execute("delete from loads where segment_no > 0")
        connection.execute("delete from usage_ledger where segment_no > 0")
        connection.execute("delete from events_log where segment_no > 0")
        connection.execute("delete from dedup_keys where key <> '00000000-0000-0000-0000-000000000000'")
        connection.execute("update writers set next_segment_no = 1")

    world.load()

    assert before == (world.rows(STORED), world.rows(LOADS), world.rows(USAGE))


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_unsafe_server(world: World, setting: LiteralString) -> None:
    """A server whose commits a crash may lose is refused."""

    def change(query: LiteralString) -> None:
        with psycopg.connect(world.database, autocommit=True) as connection:
            connection.execute(query)
            connection.execute("select pg_reload_conf()")
        eventually(lambda: [{"value": value}] == world.rows(f"select current_setting('{setting}') as value"))

    value = "off"
    change(f"alter system set {setting} = off")
    try:
        with pytest.raises(LoadError, match=f"{setting} = off"):
            world.load()
    finally:
        value = "on"
        change(f"alter system reset {setting}")

"""Types: what the loader counts by site, hour and type, whatever types senders make up."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from evothesis import pg
from evothesis.event import Entry, Row
from evothesis.loader.types import OTHER, OTHERS_MAX, OWN, TYPE_LENGTH_MAX
from tests.appliance import ROOT
from tests.fix_world import DAY, NOW, Sent, World, entry, event

MIGRATION = ROOT / "migrations/0013_event_types.sql"
COUNTED = "select site_id, event_type, events from usage_types order by site_id, event_type"
TRACKED = re.compile(r"record\('([a-z_]+)'")


def typed(number: int, kind: str, site: str = "a.example") -> Sent:
    """An event of this type."""
    return event(number, site=site) | {"eventType": kind}


def counted(world: World) -> dict[tuple[str, str], int]:
    """Events by site and type, of all hours."""
    rows: dict[tuple[str, str], int] = {}
    for row in world.rows(COUNTED):
        rows[row["site_id"], row["event_type"]] = rows.get((row["site_id"], row["event_type"]), 0) + row["events"]
    return rows


def older(known: Entry, **changes: Any) -> Entry:  # noqa: ANN401 - members of a row
    """An entry whose rows do not say their type beside their line."""
    rows: list[Row] = [msgspec.structs.replace(row, event_type="", **changes) for row in known.rows]
    return msgspec.structs.replace(known, rows=rows)


def test_own() -> None:
    """The types that have a name everywhere are those that tracking.js records."""
    sources = [ROOT / "evothesis/static/tracking.js", *(ROOT / "evothesis/static/tracking").glob("*.js")]

    assert sorted(OWN) == sorted({name for path in sources for name in TRACKED.findall(path.read_text("utf-8"))})


def test_counted(world: World) -> None:
    """Of several loads and sites: what was accepted, by type, under the hour in which it was received."""
    refused = typed(5, "click") | {"timestamp": "no"}
    world.put(entry(typed(1, "click"), typed(2, "click"), typed(3, "order"), typed(4, "click", "b.example"), refused))
    world.put(entry(typed(1, "click"), typed(6, "order"), withheld={"a.example": 3}))
    world.put(entry(typed(7, "click"), at=NOW - DAY))
    world.load()

    assert {("a.example", "click"): 3, ("a.example", "order"): 2, ("b.example", "click"): 1} == counted(world)
    this, before = (at.replace(minute=0) for at in (NOW, NOW - DAY))
    assert [(before, 1), (this, 5)] == [
        tuple(row.values())
        for row in world.rows("select hour, sum(events)::int as events from usage_types group by 1 order by 1")
    ]


def test_bound(world: World) -> None:
    """A site has so many names: the most frequent types get those that are left, all others are one type."""
    first = [typed(n, f"t{n}") for n in range(OTHERS_MAX - 1)]
    world.put(entry(*first))
    frequent = [typed(1_000 + n, "frequent") for n in range(2)]
    world.put(entry(typed(2_000, "a"), *frequent, typed(2_001, "b"), typed(2_002, "t0"), typed(2_003, "vitals")))
    world.put(entry(typed(3_000, "c"), typed(3_001, "frequent"), typed(3_002, OTHER), typed(3_003, "c", "b.example")))
    world.load()

    expected = {("a.example", f"t{n}"): 1 for n in range(1, OTHERS_MAX - 1)} | {("a.example", "t0"): 2}
    of_others = {("a.example", "frequent"): 3, ("a.example", "vitals"): 1, ("a.example", OTHER): 4}
    assert expected | of_others | {("b.example", "c"): 1} == counted(world)


def test_flood(world: World) -> None:
    """A thousand types in one load are as many rows as a site has names, and one."""
    world.put(entry(*(typed(n, f"made up {n:03}") for n in range(1_000))))
    world.load()

    found = counted(world)
    assert (OTHERS_MAX + 1, 1_000 - OTHERS_MAX) == (len(found), found["a.example", OTHER])


@pytest.mark.parametrize("kind", ["click", "a\tb\\n\\", "ä\r\n😀", "\\N", " "])
def test_older(world: World, kind: str) -> None:
    """Rows that an older version has written have their type in their line alone, as COPY reads it."""
    world.put(older(entry(typed(1, kind))), entry(typed(2, kind)))
    world.load()

    assert {("a.example", kind): 2} == counted(world)
    assert [{"event_type": kind}] == world.rows("select distinct event_type from events_log")


def test_long(world: World) -> None:
    """A type that no collector of ours lets through is counted, and has no name: an index could not hold it."""
    long = "x" * (TYPE_LENGTH_MAX + 1) * 100
    made = entry(typed(1, "click"))
    line = made.rows[0].line.replace(b"\tclick\t", b"\t%b\t" % long.encode(), 1)
    world.put(older(made, line=line))
    world.load()

    assert {("a.example", OTHER): 1} == counted(world)


def test_nothing_accepted(world: World) -> None:
    """A load of duplicates, refused and withheld events adds nothing."""
    world.put(entry(typed(1, "click")))
    world.load()
    world.put(entry(typed(1, "click"), typed(2, "click") | {"timestamp": "no"}, withheld={"a.example": 1}))
    world.load()

    assert {("a.example", "click"): 1} == counted(world)


def test_upgrade(world: World) -> None:
    """What was loaded before types were counted is not counted, and each writer remembers from where on it is."""
    for number in range(3):
        world.put(entry(typed(number, "click"), at=NOW - DAY))
    world.load()
    with pg.connect(world.database, name="test") as connection:
        connection.execute("drop table usage_types, event_types")
        connection.execute("alter table writers drop column types_from_segment_no")
        with connection.transaction():
            connection.execute(MIGRATION.read_bytes())
    world.put(entry(typed(3, "click")))
    world.load()

    assert [{"types_from_segment_no": 3}] == world.rows("select types_from_segment_no from writers")
    assert {("a.example", "click"): 1} == counted(world)

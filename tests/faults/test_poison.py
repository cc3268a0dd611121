"""A segment holds a row that no collector writes: it is put aside alone, and everything else is stored."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest

from evothesis.event import Entry, Row, rejected_row
from tests.faults.loading import Loading
from tests.faults.proxy import BEFORE, Proxy
from tests.fix_world import NOW, USAGE, World, entry, event

LOAD_SECONDS_MAX = 5
COMMIT = re.compile(rb"\bcommit\b", re.IGNORECASE)
COPY = re.compile(rb'\bcopy "events_log_')
ROW = entry(event(1)).rows[0]
AT = NOW.isoformat().encode()
TWO_DAYS_AGO = (NOW - timedelta(days=2)).isoformat().encode()


def with_line(old: bytes, new: bytes) -> Row:
    """The row with something else in its line."""
    assert old in ROW.line
    return msgspec.structs.replace(ROW, line=ROW.line.replace(old, new, 1))


def other(poison: Row, number: int) -> Row:
    """The same with a fingerprint of its own, so that it is nobody's duplicate."""
    fits = poison.fingerprint < 2**63
    return msgspec.structs.replace(poison, fingerprint=number) if fits else poison


POISONS = {
    "nul": with_line(b"click", b"cl\0ick"),
    "invalid UTF-8": with_line(b"click", b"cl\xffick"),
    "NUL in JSON": with_line(b'"n":1}', b'"n":"\\\\u0000"}'),
    "surrogate in JSON": with_line(b'"n":1}', b'"n":"\\\\ud800"}'),
    "no JSON": with_line(b'"n":1}', b'"n":'),
    "no such day": with_line(b"\ta.example\t" + AT, b"\ta.example\t2026-02-30T00:00:00+00:00"),
    "another day's partition": with_line(AT, TWO_DAYS_AGO),
    "a column less": with_line(b"\tclick", b""),
    "end of data": with_line(b"click", b"click\n\\.\n"),
    "two lines": with_line(b'"n":1}', b'"n":1}\n1\t2\t3'),
    "no address": with_line(b"192.0.2.0", b"192.0.2.256"),
    "no id": with_line(b"0" * 31 + b"1", b"x" * 32),
    "no key": msgspec.structs.replace(ROW, key="x" * 32),
    "fingerprint too large": msgspec.structs.replace(ROW, fingerprint=2**63),
    "site too long for an index": msgspec.structs.replace(ROW, site_id="".join(map(str, range(9000)))),
    "site with NUL": msgspec.structs.replace(ROW, site_id="a\0b"),
    "size too large": msgspec.structs.replace(ROW, size_bytes=2**63),
}


@pytest.fixture
def words() -> list[bytes]:
    """What the loader says to the server."""
    return []


@pytest.fixture
def proxy(world: World, words: list[bytes]) -> Iterator[Proxy]:
    """A way to the world's database, on which everything is heard."""

    def hear(_number: int, word: bytes) -> str:
        words.append(word)
        return ""

    proxy = Proxy(world.database)
    proxy.cut(hear)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("name", ["nul", "no such day", "no key", "site too long for an index"])
def test_poison(world: World, proxy: Proxy, words: list[bytes], name: str) -> None:
    """A row that cannot be stored is put aside alone, in the transaction that stores the others."""
    world.put(entry(event(0)), Entry(NOW, [POISONS[name]], [], {}), entry(event(2)))
    world.put(entry(event(3)))
    with Loading(world, proxy.dsn) as loading:
        loading.wait_until_drained(LOAD_SECONDS_MAX)

    query = "select code, segment_no, idx from rejected_events"
    assert [{"code": "unstorable", "segment_no": 0, "idx": 1}] == world.rows(query)
    assert [0, 2, 3] == [number for number, _ in world.stored()]
    assert [(2, 1), (1, 0)] == world.loads("accepted", "rejected")
    assert [3, 1] == [sum(line[column] for line in world.rows(USAGE)) for column in ("accepted", "rejected")]
    assert 2 == sum(bool(COMMIT.search(word)) for word in words)


@pytest.mark.parametrize("copies", [2, 3])
def test_lost_meanwhile(world: World, proxy: Proxy, copies: int) -> None:
    """While the row that is to blame is looked for the connection is lost: no other row is put aside for that."""
    heard = itertools.count(1)

    def which(_number: int, word: bytes) -> str:
        return BEFORE if COPY.search(word) and next(heard) == copies else ""

    world.put(entry(event(0)), Entry(NOW, [POISONS["no such day"]], [], {}), entry(event(2)))
    proxy.cut(which)
    with Loading(world, proxy.dsn) as loading:
        loading.wait_until_drained(LOAD_SECONDS_MAX)

    assert 1 == proxy.cuts
    assert [0, 2] == [number for number, _ in world.stored()]
    assert [(2, 1)] == world.loads("accepted", "rejected")


def test_poisons(world: World) -> None:
    """Of a segment that is full of rows that cannot be stored, each for another reason, all others are stored."""
    for number, poison in enumerate(POISONS.values()):
        good = entry(event(number + 10))
        world.put(Entry(NOW, [*good.rows, other(poison, number)], [], {}))
    everything = [
        row
        for number, poison in enumerate(POISONS.values())
        for row in (*entry(event(number + 50)).rows, other(poison, number + 50))
    ]
    world.put(Entry(NOW, everything, [], {}))
    with Loading(world, world.database) as loading:
        loading.wait_until_drained(LOAD_SECONDS_MAX)

    count = len(POISONS)
    assert [*range(10, 10 + count), *range(50, 50 + count)] == [number for number, _ in world.stored()]
    assert [(1, 1)] * count + [(count, count)] == world.loads("accepted", "rejected")


@pytest.mark.parametrize("site", ["a\0b", "".join(map(str, range(9000)))], ids=["nul", "too long for an index"])
def test_sites(world: World, site: str) -> None:
    """A site's name that cannot be stored stops nothing: not that of a refused event, not that of a withheld one."""
    refused = rejected_row(created_at=NOW.isoformat(), site_id="a.example", code="no", message="why", event="{}")
    world.put(Entry(NOW, entry(event(0)).rows, [msgspec.structs.replace(refused, site_id=site)], {site: 2}))
    with Loading(world, world.database) as loading:
        loading.wait_until_drained(LOAD_SECONDS_MAX)

    assert [(0, False)] == world.stored()
    assert [(1, 1, 2)] == world.loads("accepted", "rejected", "withheld")

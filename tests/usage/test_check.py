"""Check: a database in, what does not agree in it out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import LiteralString

import pytest

from evothesis import pg
from evothesis.usage.check import differences
from tests.fix_world import DAY, NOW, World, entry, event

LOADS = 16 + 3  # one whole block of sums, and a tail

FAULTS: dict[LiteralString, list[str]] = {
    "delete from events_log where segment_no = 1": ["segment 1 of writer W: ledger 1, accepted 1, stored 0, removed 0"],
    "insert into events_log select * from events_log where segment_no = 1": [
        "segment 1 of writer W: ledger 1, accepted 1, stored 2, removed 0"
    ],
    "update loads set accepted = 0 where segment_no = 1": [
        "segment 1 of writer W: ledger 1, accepted 0, stored 1, removed 0"
    ],
    "delete from loads where segment_no = 1": [
        "segment 1 of writer W: ledger 1, accepted 0, stored 1, removed 0",
        f"types of site 'a.example' in hour {NOW:%H}: ledger 18, types 19",
    ],
    "insert into removed select writer, 1, 1, 0, 'test' from writers": [
        "segment 1 of writer W: ledger 1, accepted 1, stored 1, removed 1"
    ],
    "update usage_ledger set accepted = 0 where segment_no = 1": [
        "segment 1 of writer W: ledger 0, accepted 1, stored 1, removed 0",
        "site 'a.example': ledger 18, sums 19, ledger_bots 0, sums_bots 0",
        f"types of site 'a.example' in hour {NOW:%H}: ledger 18, types 19",
    ],
    "update usage_sums set bots = 1": ["site 'a.example': ledger 19, sums 19, ledger_bots 0, sums_bots 1"],
    "delete from usage_types": [f"types of site 'a.example' in hour {NOW:%H}: ledger 19, types 0"],
    "update writers set types_from_segment_no = 1": [
        f"types of site 'a.example' in hour {NOW:%H}: ledger 18, types 19"
    ],
}


def found(connection: pg.Connection) -> list[str]:
    """What the check says about today, without the day and the writer's number."""
    sentences = [str(difference) for difference in differences(connection, NOW.date())]
    return [re.sub(r"writer \d+", "writer W", text.replace(f" of {NOW:%Y-%m-%d}", "")) for text in sentences]


@pytest.fixture
def connection(world: World) -> Iterator[pg.Connection]:
    """To a database with loads of today, and one of yesterday."""
    for number in range(LOADS):
        world.put(entry(event(number)))
    world.put(entry(event(LOADS), at=NOW - DAY))
    world.load()
    with pg.connect(world.database, name="test") as connection:
        yield connection


def test_nothing(connection: pg.Connection) -> None:
    """What a loader stores agrees, within whole blocks of sums and behind them, also when some of it was removed."""
    before = found(connection)
    connection.execute("delete from events_log where segment_no = 7")
    connection.execute("insert into removed select writer, 7, 1, 0, 'test' from writers")

    assert [] == before == found(connection)
    summed = pg.one(connection, "select sum(accepted)::int as events from usage_sums")
    assert 16 == summed["events"]


def test_faults(connection: pg.Connection) -> None:
    """Each way in which a load, the ledger and its sums can disagree is found, and named."""
    connection.execute("set session_replication_role = replica")  # as somebody does who switches triggers off
    for fault, expected in FAULTS.items():
        with connection.transaction(force_rollback=True):
            connection.execute(fault)
            assert expected == found(connection), fault

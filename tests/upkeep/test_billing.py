"""Billing as doctor looks at it: a ledger that agrees or not, months that are closed or forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from evothesis import pg
from evothesis.config import Config
from evothesis.upkeep import billing
from evothesis.upkeep.finding import Finding, State
from evothesis.usage.close import close
from evothesis.usage.meter import Month
from tests.fix_world import DAY, NOW, World, entry, event
from tests.usage.ledger import load

OCTOBER, NOVEMBER = Month(2025, 10), Month(2025, 11)
LATER = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def connection(world: World) -> Iterator[pg.Connection]:
    """To a database with a load of today and two of yesterday."""
    for number, at in enumerate([NOW, NOW - DAY, NOW - DAY]):
        world.put(entry(event(number), at=at))
    world.load()
    with pg.connect(world.database, name="test") as connection:
        yield connection


@pytest.fixture
def months(database: str) -> Iterator[pg.Connection]:
    """To a database with events of October and November."""
    with pg.connect(database, name="test") as connection:
        for month in (OCTOBER, NOVEMBER):
            load(connection, datetime(*month, 5, tzinfo=UTC), {"a": {"accepted": 7}})
        yield connection


def ledger(connection: pg.Connection) -> list[Finding]:
    """What is found of the ledger today."""
    return list(billing.ledger(connection, NOW.date()))


def test_ledger(connection: pg.Connection) -> None:
    """Of both days what is billed is there."""
    said = "billed load by load as they are stored or were removed"
    days = ((2, (NOW - DAY).date()), (1, NOW.date()))

    assert [Finding("ledger", State.OK, f"{events} events of {day}, {said}") for events, day in days] == ledger(
        connection
    )


def test_event_is_gone(connection: pg.Connection) -> None:
    """An event that is billed and not there needs a person, and its load is named."""
    connection.execute("delete from events_log where created_at >= %s", [NOW])

    yesterday, today = ledger(connection)

    assert (State.OK, State.ACT) == (yesterday.state, today.state)
    assert today.found.endswith("ledger 1, accepted 1, stored 0, removed 0")


def test_too_many(connection: pg.Connection) -> None:
    """A day with more events than can be read by the way is told of, and not read."""
    with psycopg.connect(connection.info.dsn) as other:
        load(other, NOW, {"a": {"accepted": billing.EVENTS_MAX}}, writer=9)

    assert [State.OK, State.NOTE] == [finding.state for finding in ledger(connection)]


def test_nothing_was_invoiced(months: pg.Connection) -> None:
    """Where no month was ever closed nobody is needed."""
    assert (State.NOTE, "no month was ever closed") == billing.invoices(months, LATER)[1:3]


def test_forgotten(months: pg.Connection) -> None:
    """Where months are closed, one that is over and is not needs a person, from its third day on."""
    close(months, Config(), OCTOBER, now=LATER, actor="anna")
    soon, due = (billing.invoices(months, NOVEMBER.end + timedelta(days=days)) for days in (2.9, 3))

    assert (State.OK, "1 invoices and credits; no month waits to be closed") == soon[1:3]
    assert (State.ACT, "2025-11 is over, has events, and is not closed") == due[1:3]
    assert "evothesis usage close --month 2025-11; after a restore compare it" in due.todo


def test_restored(months: pg.Connection) -> None:
    """A database from before a close names the month that was closed."""
    close(months, Config(), OCTOBER, now=LATER, actor="anna")
    with months.transaction(force_rollback=True):
        close(months, Config(), NOVEMBER, now=LATER, actor="anna")
        assert State.OK is billing.invoices(months, LATER).state

    assert "2025-11 is over, has events, and is not closed" == billing.invoices(months, LATER).found

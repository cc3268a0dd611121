"""Close: loads and a month that is over in; an invoice that covers them once, and never changes, out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from evothesis import pg
from evothesis.config import AddOn, Config, Tier, Usage
from evothesis.errors import InvoiceError
from evothesis.usage.close import close
from evothesis.usage.credit import credit
from evothesis.usage.invoice import invoice
from evothesis.usage.meter import Month
from tests.usage.ledger import Ledger, load

OCTOBER, NOVEMBER, DECEMBER = (Month(2025, number) for number in (10, 11, 12))
LATER = datetime(2026, 2, 1, tzinfo=UTC)
CONFIG = Config(instance="acme")


@pytest.fixture
def connection(ledger: Ledger) -> Iterator[pg.Connection]:
    """A connection to the ledger's database."""
    with pg.connect(ledger.url, name="test") as connection:
        yield connection


def closed(connection: pg.Connection, month: Month, config: Config = CONFIG) -> dict[str, Any]:
    """The invoice of a month that is closed now, long after its end."""
    close(connection, config, month, now=LATER, actor="anna")
    return invoice(connection, month)


def put(
    connection: pg.Connection, when: str, accepted: int, *, writer: int = 1, site: str = "a", **others: int
) -> None:
    """Load a segment that was received at that time."""
    moment = datetime.fromisoformat(when).replace(tzinfo=UTC)
    load(connection, moment, {site: others | {"accepted": accepted}}, writer)


def test_invoice(connection: pg.Connection) -> None:
    """An invoice says what was counted, what it costs, under which tariff, and which loads it covers."""
    put(connection, "2025-11-01T00:00", 2_000, bots=500, duplicate=3, rejected=2, withheld=1)
    put(connection, "2025-11-30T23:59", 1_000, site="b", writer=7)
    put(connection, "2025-12-01T00:00", 5_000)

    found = closed(connection, NOVEMBER)

    assert datetime.fromisoformat(found.pop("closed_at")).tzinfo
    counts = {"events": 3_000, "billable": 2_500, "duplicates": 3, "bots": 500, "rejected": 2, "withheld": 1}
    line = {"kind": "events", "name": "events", "events": 2_500, "rate_per_thousand": "0.01", "amount": "0.03"}
    assert (
        counts
        | {
            "number": 1,
            "invoice": "acme-2025-11",
            "instance": "acme",
            "month": "2025-11",
            "closed_by": "anna",
            "amount": "0.03",
            "currency": "USD",
            "due": "0.03",
            "tariff": {
                "rate_per_thousand": "0.01",
                "currency": "USD",
                "billable": "people",
                "free_events": 0,
                "tiers": [],
                "tier_style": "graduated",
                "minimum": "0",
                "add_ons": [],
            },
            "lines": [line],
            "sites": [
                {"site_id": "a", "received": "2025-11", **counts, "events": 2_000, "billable": 1_500},
                {"site_id": "b", "received": "2025-11", **dict.fromkeys(counts, 0), "events": 1_000, "billable": 1_000},
            ],
            "loads": [{"writer": 1, "first": 0, "last": 0}, {"writer": 7, "first": 0, "last": 0}],
            "manifests": [],
            "credits": [],
        }
        == found
    )


def test_audit(connection: pg.Connection) -> None:
    """Every close and every credit leaves one row that says who did it; to do it again leaves none."""
    put(connection, "2025-11-05", 5_000)
    for _ in range(2):
        closed(connection, NOVEMBER)
        credit(connection, NOVEMBER, Decimal("0.02"), "outage", actor="berta")

    rows = connection.execute("select actor, action, details ->> 'name' as name from audit_log order by 1").fetchall()
    assert [
        ("anna", "usage-close", "acme-2025-11"),
        ("berta", "usage-credit", "acme-2025-11-credit-1"),
    ] == [tuple(row.values()) for row in rows]


def test_told(connection: pg.Connection) -> None:
    """A close leaves one message of the documented kind, which says what the invoice says."""
    put(connection, "2025-11-05", 5_000, bots=2_000)
    found = closed(connection, NOVEMBER)
    closed(connection, NOVEMBER)

    names = ("number", "invoice", "month", "closed_at", "events", "billable", "amount", "currency")
    [message] = connection.execute("select kind, key, data from outbox").fetchall()
    data = message.pop("data")
    assert {"kind": "invoice.closed", "key": "acme-2025-11"} == message
    assert list(names) == list(data)
    closed_at = [datetime.fromisoformat(one["closed_at"]) for one in (found, data)]
    assert closed_at[0] == closed_at[1]
    assert {name: found[name] for name in names if name != "closed_at"} == {
        name: data[name] for name in names if name != "closed_at"
    }


def test_twice(connection: pg.Connection) -> None:
    """A month is closed once: its invoice stays as it is, whatever the tariff has become and what came since."""
    put(connection, "2025-11-05", 5_000)
    before = closed(connection, NOVEMBER)
    put(connection, "2025-11-06", 5_000)
    dearer = Config(instance="other", usage=Usage(rate_per_thousand=Decimal(7)))

    assert not close(connection, dearer, NOVEMBER, now=LATER, actor="berta")
    assert before == invoice(connection, NOVEMBER)


def test_late(connection: pg.Connection) -> None:
    """What arrives for a closed month is on the next invoice, under the month in which it was received."""
    put(connection, "2025-11-30T23:58", 1_000)
    closed(connection, NOVEMBER)
    put(connection, "2025-11-30T23:59", 20_000)
    put(connection, "2025-12-01", 300_000)

    found = closed(connection, DECEMBER)

    assert [("2025-11", 20_000), ("2025-12", 300_000)] == [
        (part["received"], part["events"]) for part in found["sites"]
    ]
    assert [{"writer": 1, "first": 1, "last": 2}] == found["loads"]
    assert ("3.20", 2) == (found["amount"], found["number"])


def test_clock_ahead(connection: pg.Connection) -> None:
    """A load that claims to be of a later year keeps nothing behind it from being billed; it is billed with it."""
    for when in ("2025-11-05", "2031-01-01", "2025-11-06", "2025-12-01"):
        put(connection, when, 1_000)

    found = [closed(connection, month)["loads"] for month in (NOVEMBER, DECEMBER)]

    assert [[{"writer": 1, "first": 0, "last": 2}], [{"writer": 1, "first": 3, "last": 3}]] == found


def test_not_over(connection: pg.Connection) -> None:
    """A month is closed from its last moment on, not before."""
    put(connection, "2025-11-05", 1)
    with pytest.raises(InvoiceError, match="2025-11 is not over") as caught:
        close(connection, CONFIG, NOVEMBER, now=NOVEMBER.end - timedelta(microseconds=1), actor="anna")

    assert "close it from 2025-12-01 on" in str(caught.value.hint)
    assert close(connection, CONFIG, NOVEMBER, now=NOVEMBER.end, actor="anna")


def test_order(connection: pg.Connection) -> None:
    """A month cannot be closed before an earlier one that has events, nor after a later one."""
    put(connection, "2025-10-05", 1)
    put(connection, "2025-12-05", 1)
    with pytest.raises(InvoiceError, match="2025-10 has events and is not closed") as caught:
        closed(connection, DECEMBER)
    numbers = [closed(connection, month)["number"] for month in (OCTOBER, DECEMBER)]
    with pytest.raises(InvoiceError, match="2025-11 was not closed before 2025-12 was"):
        closed(connection, NOVEMBER)

    assert "first evothesis usage close --month 2025-10" == caught.value.hint
    assert [1, 2] == numbers


def test_nothing_yet(connection: pg.Connection) -> None:
    """An appliance that has collected nothing has no invoice; one that was silent for a month has one of zero."""
    with pytest.raises(InvoiceError, match="nothing was collected in 2025-10, or before"):
        closed(connection, OCTOBER)
    put(connection, "2025-10-05", 1_000)
    closed(connection, OCTOBER)

    assert ("0.00", [], []) == tuple(closed(connection, NOVEMBER)[name] for name in ("amount", "sites", "loads"))


def test_tariff(connection: pg.Connection) -> None:
    """Tiers, free events, minimum and add-ons stand on the invoice, with the tariff that they come from."""
    put(connection, "2025-11-05", 3_000, bots=1_000)
    usage = Usage(
        rate_per_thousand=Decimal(10),
        currency="JPY",
        billable="all",
        free_events=500,
        tiers=(Tier(above=2_000, rate_per_thousand=Decimal(5)),),
        minimum=Decimal(100),
        add_ons=(AddOn(name="Compliance", amount=Decimal(1_500)),),
    )

    found = closed(connection, NOVEMBER, Config(usage=usage))

    assert ["0", "20", "3", "77", "1500"] == [line["amount"] for line in found["lines"]]
    assert ("1600", 3_000) == (found["amount"], found["billable"])
    assert [{"above": 2_000, "rate_per_thousand": "5"}] == found["tariff"]["tiers"]


def test_credit(connection: pg.Connection) -> None:
    """A credit is a row with a number of its own; the invoice keeps its amount, and less is due."""
    put(connection, "2025-11-05", 1_000_000)
    before = closed(connection, NOVEMBER)
    for reason in ("outage", "outage", "kindness"):
        credit(connection, NOVEMBER, Decimal("2.5"), reason, actor="anna")
    after = invoice(connection, NOVEMBER)

    credits_ = [(part["number"], part["invoice"], part["amount"]) for part in after["credits"]]
    assert [(2, "acme-2025-11-credit-1", "-2.50"), (3, "acme-2025-11-credit-2", "-2.50")] == credits_
    assert ("10.00", "5.00") == (after["amount"], after["due"])
    assert before == after | {"credits": [], "due": "10.00"}


@pytest.mark.parametrize(
    ("amount", "reason", "expected"),
    [
        ("10.01", "a", "10.01 cannot be credited: 10.00 USD of acme-2025-11 are left"),
        ("0", "a", "0 cannot be credited"),
        ("-1", "a", "-1 cannot be credited"),
        ("0.005", "a", "0.005 cannot be credited"),
        ("NaN", "a", "NaN cannot be credited"),
        ("2", "outage", "acme-2025-11 has a credit of 1.00 for this reason"),
    ],
)
def test_no_credit(connection: pg.Connection, amount: str, reason: str, expected: str) -> None:
    """What cannot be paid back, or was given for the same reason, is refused."""
    put(connection, "2025-11-05", 1_100_000)
    closed(connection, NOVEMBER)
    credit(connection, NOVEMBER, Decimal(1), "outage", actor="anna")
    with pytest.raises(InvoiceError, match=expected):
        credit(connection, NOVEMBER, Decimal(amount), reason, actor="anna")


def test_no_invoice(connection: pg.Connection) -> None:
    """A month that is not closed has no invoice, and no credit."""
    for ask in (
        lambda: invoice(connection, NOVEMBER),
        lambda: credit(connection, NOVEMBER, Decimal(1), "a", actor="a"),
    ):
        with pytest.raises(InvoiceError, match="2025-11 is not closed") as caught:
            ask()
        assert "evothesis usage close --month 2025-11" == caught.value.hint


CHANGES: list[LiteralString] = ["update {} set {} = {}", "delete from {}", "truncate {} cascade"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("table", ["usage_ledger", "invoices", "invoice_ranges"])
def test_insert_only(connection: pg.Connection, table: str, change: LiteralString) -> None:
    """Not even their owner changes or deletes what is billed."""
    put(connection, "2025-11-05", 1)
    closed(connection, NOVEMBER)
    column = {"usage_ledger": "accepted", "invoices": "amount", "invoice_ranges": "number"}[table]
    statement = psycopg.sql.SQL(change).format(
        *(psycopg.sql.Identifier(name) for name in (table, column, column)[: change.count("{}")])
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match=f"rows of {table} are never changed or deleted"):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("first", "last", "previous"),
    [(2, 3, 1), (2, 3, 0), (1, 1, None), (0, 1, None), (1, 0, 0), (0, 0, None)],
)
def test_ranges_tile(connection: pg.Connection, first: int, last: int, previous: int | None) -> None:
    """A range that leaves a gap, overlaps, or ends before it begins is refused by the database itself."""
    put(connection, "2025-11-05", 1)
    put(connection, "2025-12-05", 1)
    closed(connection, NOVEMBER)
    with pytest.raises(psycopg.errors.IntegrityError):
        connection.execute(
            "insert into invoice_ranges (number, writer, previous_segment_no, first_segment_no, last_segment_no) "
            "values (1, 1, %s, %s, %s)",
            [previous, first, last],
        )

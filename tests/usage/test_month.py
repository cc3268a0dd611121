"""Usage: rows of the ledger in; counts, money and their printed forms out."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from evothesis import pg
from evothesis.config import Config, Usage
from evothesis.errors import ConfigurationError
from evothesis.usage.meter import Month, counts
from tests.usage.ledger import Ledger

NOVEMBER = Month(2025, 11)


@pytest.mark.parametrize(
    ("text", "first", "following"),
    [
        ("2025-11", date(2025, 11, 1), date(2025, 12, 1)),
        ("2025-12", date(2025, 12, 1), date(2026, 1, 1)),
        ("2028-02", date(2028, 2, 1), date(2028, 3, 1)),
        ("0001-01", date(1, 1, 1), date(1, 2, 1)),
    ],
)
def test_month(text: str, first: date, following: date) -> None:
    """A month begins on its first day and ends before the next one's."""
    month = Month.parse(text)

    assert (first, following, text) == (month.first, month.next, str(month))


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-1", "2026-13", "2026-00", "0000-01", "9999-12", "2025-11-01", " 2025-11", "26-11", "٢٠٢٦-11"],
)
def test_no_month(text: str) -> None:
    """What is not a month, or has no end that a date can name, is refused with an example."""
    with pytest.raises(ConfigurationError, match="is not a month") as caught:
        Month.parse(text)

    assert "write it as YYYY-MM, for example 2026-11" == caught.value.hint


def test_boundaries(ledger: Ledger) -> None:
    """A month has its first day and its last, and no other."""
    for day, accepted in {"2025-10-31": 1, "2025-11-01": 20, "2025-11-30": 300, "2025-12-01": 4_000}.items():
        ledger.add("a", day, accepted)

    assert (1, 320, 4_000) == tuple(ledger.report(Config(), Month(2025, number))["events"] for number in (10, 11, 12))


def test_boundaries_are_utc(ledger: Ledger) -> None:
    """Neither the database's time zone nor the machine's moves a day into another month."""
    ledger.add("a", "2025-11-01", 1)
    ledger.add("a", "2025-11-30", 1)
    with psycopg.connect(ledger.url) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set timezone to 'Pacific/Kiritimati'").format(name))

    found = ledger.printed("--month", "2025-11", "--by", "day", "--format", "json", TZ="America/Los_Angeles")

    assert ["2025-11-01", "2025-11-30"] == [line["day"] for line in json.loads(found)["days"]]


def test_this_month(ledger: Ledger) -> None:
    """Without a month it is the current one, in UTC, wherever the machine believes to be."""
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):  # 14 hours before, 11 hours behind
        before = datetime.now(UTC)
        found = json.loads(ledger.printed("--format", "json", TZ=zone))
        assert found["month"] in {f"{before:%Y-%m}", f"{datetime.now(UTC):%Y-%m}"}


def test_loads_add_up(ledger: Ledger) -> None:
    """What several loads counted for one site is one line; sites are sorted by name, days by date."""
    ledger.add("b", "2025-11-02", 5, duplicate=1, rejected=2, withheld=3, bots=4)
    ledger.add("b", "2025-11-01", 50, duplicate=10, rejected=20, withheld=30, bots=40)
    ledger.add("a", "2025-11-02", 500)

    with pg.connect(ledger.url, name="test") as connection:
        by_site = [tuple(line) for line in counts(connection, NOVEMBER, "site")]
        by_day = [tuple(line) for line in counts(connection, NOVEMBER, "day")]

    # name, events, bots, duplicates, rejected, withheld
    assert [("a", 500, 0, 0, 0, 0), ("b", 55, 44, 11, 22, 33)] == by_site
    assert [("2025-11-01", 50, 40, 10, 20, 30), ("2025-11-02", 505, 4, 1, 2, 3)] == by_day


def test_json(ledger: Ledger) -> None:
    """--format json prints the report as the contract has it, alone on stdout."""
    ledger.add("shop.example.com", "2025-11-22", 1_234, duplicate=10, rejected=2, withheld=5, bots=34)

    found = ledger.printed("--month", "2025-11", "--format", "json")

    numbers = {"events": 1_234, "billable": 1_200, "duplicates": 10, "bots": 34, "rejected": 2, "withheld": 5}
    assert {
        "instance": "acme",
        "month": "2025-11",
        **numbers,
        "amount": "0.01",
        "currency": "USD",
        "forecast": None,
        "invoice": None,
        "lines": [{"kind": "events", "name": "events", "events": 1_200, "rate_per_thousand": "0.01", "amount": "0.01"}],
        "sites": [{"site_id": "shop.example.com", **numbers, "amount": "0.01"}],
    } == json.loads(found)


def test_total_is_priced_once(ledger: Ledger) -> None:
    """The amount of the month is that of all events: rounded parts need not add up to it."""
    for site in "abc":
        ledger.add(site, "2025-11-01", 500)

    found = ledger.report(Config(), NOVEMBER)

    assert ["0.01", "0.01", "0.01"] == [line["amount"] for line in found["sites"]]
    assert "0.02" == found["amount"]


def test_bots_are_free(ledger: Ledger) -> None:
    """Stored events that a bot sent are counted and not billed."""
    ledger.add("a", "2025-11-01", 1_000_000, bots=1_000_000, duplicate=1_000_000, withheld=1_000_000)

    found = ledger.report(Config(), NOVEMBER)

    assert (1_000_000, 0, "0.00") == (found["events"], found["billable"], found["amount"])


def test_rate(ledger: Ledger) -> None:
    """Price and currency are those of the configuration."""
    ledger.add("a", "2025-11-01", 1_000)

    found = ledger.report(Config(usage=Usage(rate_per_thousand=Decimal("1.005"), currency="EUR")), NOVEMBER)

    assert ("1.01", "EUR") == (found["amount"], found["currency"])


def test_rate_from_environment(ledger: Ledger) -> None:
    """A rate that was set on the command's way is the one that is used."""
    ledger.add("a", "2025-11-01", 1_000)

    found = ledger.printed("--month", "2025-11", "--format", "json", EVOTHESIS_USAGE_RATE_PER_THOUSAND="2.50")

    assert "2.50" == json.loads(found)["amount"]


def test_csv(ledger: Ledger) -> None:
    """--format csv is RFC 4180: CRLF, a header, quotes where a value needs them, doubled inside."""
    ledger.add('a,"b"', "2025-11-01", 1_000, bots=1)
    ledger.add("plain", "2025-11-01", 2_000, duplicate=3)

    text = ledger.printed("--month", "2025-11", "--format", "csv")

    assert (
        "site_id,events,billable,duplicates,bots,rejected,withheld,amount,currency\r\n"
        '"a,""b""",1000,999,0,1,0,0,0.01,USD\r\n'
        "plain,2000,2000,3,0,0,0,0.02,USD\r\n"
    ) == text
    assert 'a,"b"' == next(csv.DictReader(io.StringIO(text)))["site_id"]


def test_table(ledger: Ledger) -> None:
    """The table shows names in full and numbers in one piece, the total last, in a narrow terminal too."""
    ledger.add("a-rather-long-name-of-a-shop.example.com", "2025-11-01", 1_234_567, bots=1_000)

    text = ledger.printed("--month", "2025-11", COLUMNS="80")

    first_column = "".join(line[: line.find("  ")] for line in text.splitlines()[3:])
    assert "a-rather-long-name-of-a-shop.example.com" in first_column
    [total] = [line for line in text.splitlines() if "total" in line]
    assert "total 1,234,567 1,233,567 1,000 0 0 0 12.34" == " ".join(total.split())


def test_closed_or_not(ledger: Ledger) -> None:
    """Of a month that is over it is said whether it is closed, below the table and in JSON."""
    ledger.add("a", "2025-11-01", 1_000)
    months = ["--month", "2025-11"]
    before = ledger.printed(*months)
    ledger.command("close", *months)
    after, found = ledger.printed(*months), json.loads(ledger.printed(*months, "--format", "json"))

    command = "evothesis usage close --month 2025-11"
    assert f"Not closed; to close it: {command}" == before.splitlines()[-1]
    assert f"Invoice acme-2025-11; to print it: {command}" == after.splitlines()[-1]
    assert "acme-2025-11" == found["invoice"]


def test_table_takes_names_literally(ledger: Ledger) -> None:
    """A site's name, which anybody may send, is neither markup nor a command to the terminal."""
    ledger.add("[/b]\x1b[31m\a\r\n[red]end", "2025-11-01", 1)

    text = ledger.printed("--month", "2025-11", COLUMNS="120")

    assert "[/b]" in text
    assert "[red]end" in text
    assert [] == re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--format", "json"], '"events": 0, "billable": 0, "amount": "0.00"'),
        (
            ["--format", "csv", "--by", "day"],
            "day,events,billable,duplicates,bots,rejected,withheld,amount,currency\r\n",
        ),
        ([], "total"),
    ],
)
def test_empty_month(ledger: Ledger, arguments: list[str], expected: str) -> None:
    """A month without events is a report of zeros, not a failure."""
    assert expected in ledger.printed("--month", "2025-11", *arguments)

"""An invoice as it is printed: a closed month in; a table, JSON, CSV or a page out."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import psycopg
import pytest

from evothesis.appliance.postgres import Postgres
from tests.fix_postgres import new_database
from tests.usage.ledger import Ledger

HOSTILE = "=<script>alert(1)</script>\x1b[31m"
TARIFF = """
[usage]
rate_per_thousand = "10"
free_events = 1_000
tiers = [{ above = 2_000, rate_per_thousand = "5" }]
add_ons = [{ name = "Compliance", amount = "1500" }]
"""


class Cells(HTMLParser):
    """The text of every cell of a page, and the names of its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.elements: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        """An element begins."""
        self.elements.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        """Text stands in it."""
        if self.cells:
            self.cells[-1] += data.strip("\n")


@pytest.fixture(scope="module")
def ledger(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger whose October is closed, with a credit; a site of it has a name that is an attack."""
    config = tmp_path_factory.mktemp("config") / "config.toml"
    config.write_text(TARIFF)
    with new_database(postgres) as url:
        ledger = Ledger(url)
        ledger.add(HOSTILE, "2025-10-05", 4_000, bots=500, duplicate=7)
        ledger.add("b.example", "2025-10-06", 500, rejected=2, withheld=1)
        closed = ledger.command("close", "--month", "2025-10", "--config", str(config))
        assert (0, b"acme-2025-10 is closed.\n") == (closed.returncode, closed.stderr)
        reason = "outage of 3 October"
        ledger.printed("credit", "--month", "2025-10", "--amount", "0.5", "--reason", reason)
        yield ledger


def again(ledger: Ledger, form: str, **environment: str) -> str:
    """What the command prints of the closed month."""
    done = ledger.command("close", "--month", "2025-10", "--format", form, **environment)
    assert (0, b"acme-2025-10 was closed before.\n") == (done.returncode, done.stderr)
    return done.stdout.decode()


def test_json(ledger: Ledger) -> None:
    """--format json prints the whole invoice, alone on stdout, with the tariff of its day."""
    found = json.loads(again(ledger, "json"))

    assert ("acme-2025-10", "1525.00", "1524.50", "1000") == (
        found["invoice"],
        found["amount"],
        found["due"],
        str(found["tariff"]["free_events"]),
    )


def test_csv(ledger: Ledger) -> None:
    """--format csv has a line for each line of money and for each site; the amounts add up to what is due."""
    text = again(ledger, "csv")
    lines = list(csv.DictReader(io.StringIO(text)))

    assert text.startswith("invoice,line,name,received,events,billable,bots,duplicates,rejected,withheld,")
    assert [
        ("free", "0.00"),
        ("events", "20.00"),
        ("events", "5.00"),
        ("add_on", "1500.00"),
        ("credit", "-0.50"),
        ("site", ""),
        ("site", ""),
    ] == [(line["line"], line["amount"]) for line in lines]
    assert f"'{HOSTILE}" in {line["name"] for line in lines}
    assert ("b.example", "2025-10", "500", "500", "2", "1") == tuple(
        lines[-1][name] for name in ("name", "received", "events", "billable", "rejected", "withheld")
    )


def test_html(ledger: Ledger) -> None:
    """--format html is one page that needs nothing else; names stand in it as text, sums last."""
    text = again(ledger, "html")
    page = Cells(text)

    assert "script" not in page.elements
    assert HOSTILE in page.cells
    assert ["Due", "1524.50"] == page.cells[page.cells.index("Due") :][:2]
    assert None is re.search(r"https?://|src=|url\(|@import", text)


def test_table(ledger: Ledger) -> None:
    """The table has what is due last, and no command to the terminal."""
    text = again(ledger, "table", COLUMNS="80")

    assert "due 1524.50" == " ".join(text.split()[-2:])
    assert "credit, number 2: outage of 3 October" in " ".join(text.split())
    assert [] == re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["close", "--month", "2025-09"], 1, "Error: 2025-09 was not closed before 2025-10 was"),
        (["close", "--month", "2999-01"], 1, "Error: 2999-01 is not over"),
        (["--month", "2025-11", "close"], 2, "Error: Invalid value: write the options behind 'close'"),
        (
            ["credit", "--month", "2025-10", "--amount", "x", "--reason", "y"],
            2,
            "Error: Invalid value: 'x' is no amount",
        ),
        (["credit", "--month", "2025-10", "--amount", "1", "--reason", " "], 2, "Error: Invalid value: say why"),
        (["credit", "--month", "2025-11", "--amount", "1", "--reason", "y"], 1, "Error: 2025-11 is not closed"),
    ],
)
def test_refused(ledger: Ledger, arguments: list[str], code: int, expected: str) -> None:
    """What cannot be done is said, with what to try, and changes nothing."""
    before = ledger.rows("select count(*) as rows from invoices")
    done = ledger.command(*arguments)

    assert (code, expected) == (done.returncode, done.stderr.decode()[: len(expected)])
    assert "\nTry: " in done.stderr.decode()
    assert before == ledger.rows("select count(*) as rows from invoices")


def test_numbers_without_gap(ledger: Ledger) -> None:
    """A number is refused that does not follow the one before."""
    with psycopg.connect(ledger.url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "insert into invoices (number, previous_number, name, instance, month, corrects, reason, amount, currency, "
            "lines, closed_by) values (4, 2, 'n', 'i', '2025-10-01', 1, 'r', -1, 'USD', '[]', 'a')"
        )

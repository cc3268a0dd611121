"""What-if, losses and bars: a month with something beside it, as it is printed."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
from pathlib import Path

import pytest

from evothesis import pg
from evothesis.usage.loss import Loss, losses
from evothesis.usage.meter import Month
from tests.fix_world import NOW, World, entry
from tests.usage.ledger import Ledger

OFFER = """
[usage]
rate_per_thousand = "0.02"
currency = "EUR"
billable = "all"
free_events = 1_000_000
minimum = "25"
"""
VIEW = f"{int(NOW.timestamp() * 1000):012x}"


@pytest.fixture
def offer(tmp_path: Path) -> str:
    """The path of another tariff."""
    (tmp_path / "offer.toml").write_text(OFFER)
    return str(tmp_path / "offer.toml")


def fill(ledger: Ledger) -> None:
    """A month of two sites."""
    ledger.add("a", "2025-11-01", 1_000_000, bots=500_000)
    ledger.add("b", "2025-11-02", 1_000_000)


def test_json(ledger: Ledger, offer: str) -> None:
    """Under another tariff the same events cost something else, by its rule of what is billed; both are told."""
    fill(ledger)
    found = json.loads(ledger.printed("--month", "2025-11", "--format", "json", "--what-if", offer))

    assert ("15.00", 1_500_000) == (found["amount"], found["billable"])
    assert ("25.00", "EUR", 2_000_000) == tuple(found["what_if"][name] for name in ("amount", "currency", "billable"))
    assert ["free", "events", "minimum"] == [line["kind"] for line in found["what_if"]["lines"]]
    assert [("5.00", "10.00"), ("10.00", "10.00")] == [
        (line["amount"], line["what_if_amount"]) for line in found["sites"]
    ]


def test_csv(ledger: Ledger, offer: str) -> None:
    """In a file the other tariff is a column more."""
    fill(ledger)
    text = ledger.printed("--month", "2025-11", "--format", "csv", "--by", "day", "--what-if", offer)

    assert [("2025-11-01", "5.00", "10.00"), ("2025-11-02", "10.00", "10.00")] == [
        (line["day"], line["amount"], line["what_if_amount"]) for line in csv.DictReader(io.StringIO(text))
    ]


def test_table(ledger: Ledger, offer: str) -> None:
    """On a terminal both prices stand side by side, line by line."""
    fill(ledger)
    text = ledger.printed("--month", "2025-11", "--what-if", offer, COLUMNS="120")
    words = " ".join(text.split())

    assert "as it is what if" in words
    assert "1,500,000 events at 0.01 per 1,000 15.00" in words
    assert "total 15.00" in words
    assert "25.00" == words.split()[-1]


def test_no_tariff(ledger: Ledger, tmp_path: Path) -> None:
    """A tariff that cannot be read is named, with its line."""
    (tmp_path / "offer.toml").write_text("[usage]\ncurrency = 'euro'")
    done = ledger.command("--what-if", str(tmp_path / "offer.toml"))

    assert (2, True) == (done.returncode, f"{tmp_path}/offer.toml:2: " in done.stderr.decode())


def test_bars(ledger: Ledger) -> None:
    """On a terminal, and only there, each day has a bar, the busiest one the longest."""
    ledger.add("a", "2025-11-01", 10)
    ledger.add("a", "2025-11-02", 20)
    arguments = ("--month", "2025-11", "--by", "day")
    parent, child = pty.openpty()
    ledger.on_terminal(child, *arguments, COLUMNS="120", TERM="xterm")
    os.close(child)
    shown = b""
    while b"total" not in shown:
        shown += os.read(parent, 2**16)
    os.close(parent)
    lengths = {line[:10]: line.count("█") for line in shown.decode().splitlines() if line.startswith("2025")}

    assert {"2025-11-01": 15, "2025-11-02": 30} == lengths
    assert "█" not in ledger.printed(*arguments)


def test_losses(world: World) -> None:
    """What trackers numbered and never arrived is told by site, of the month's days only."""
    view = f"{VIEW[:8]}-{VIEW[8:]}-7000-8000-000000000000"
    numbered = [{"viewId": view, "sequence": number} for number in (1, 2, 5)]
    events = [{"eventType": "click", "siteId": "a.example", "data": data} for data in numbered]
    world.put(entry(*events))
    world.load()
    month = Month.of(NOW)
    with pg.connect(world.database, name="test") as connection:
        found = [losses(connection, month), losses(connection, month.previous)]
    printed = Ledger(world.database).printed("--month", str(month), "--loss", "--format", "json")

    assert [[Loss("a.example", 1, 5, 3, 2)], []] == found
    assert (2, 2) == (json.loads(printed)["lost"], json.loads(printed)["sites"][0]["lost"])


def test_losses_by_day(ledger: Ledger) -> None:
    """Losses by day are a question for the view itself, and the message says so."""
    done = ledger.command("--loss", "--by", "day")

    assert (2, True) == (done.returncode, b"select * from tracker_loss" in done.stderr)

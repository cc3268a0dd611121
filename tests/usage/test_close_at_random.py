"""Close under load: at random instants, killed at every step, twice at once; each load is billed once all the same."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from evothesis import pg
from evothesis.config import Config
from evothesis.errors import UnreachableError
from evothesis.usage.close import close
from evothesis.usage.invoice import invoice
from evothesis.usage.meter import Month
from tests.faults.proxy import AFTER, BEFORE, Proxy, Which
from tests.usage.ledger import Ledger, load

CLOSINGS, CLOSINGS_LONG = 30, 1_000
WRITERS = (3, 5, 8)
FIRST = Month(1950, 1)
STEPS_MAX = 40
AHEAD_DAYS_MAX = 90  # loads are quicker than closings
PAUSE_SECONDS = 0.001
TERMINATE = b"X\0\0\0\4"

UNTILED = """
-- a load that no invoice covers though its writer's later ones are covered, or that two of them cover
select l.writer, l.segment_no, count(r.writer) as times
  from loads l
  left join invoice_ranges r
    on r.writer = l.writer and l.segment_no between r.first_segment_no and r.last_segment_no
 where l.segment_no <= (select max(last_segment_no) from invoice_ranges m where m.writer = l.writer)
 group by l.writer, l.segment_no
having count(r.writer) <> 1
"""
BILLED = """
select sum(u.accepted)::bigint as events, sum(u.bots)::bigint as bots
  from usage_ledger u
  join invoice_ranges r on r.writer = u.writer and u.segment_no between r.first_segment_no and r.last_segment_no
"""
LEFT = """
select count(*) as loads from loads l
 where not exists (select from invoice_ranges r
                    where r.writer = l.writer and l.segment_no between r.first_segment_no and r.last_segment_no)
"""
INVOICED = "select sum(events)::bigint as events, sum(bots)::bigint as bots from invoices"
NUMBERS = "select array_agg(number order by number) as numbers from invoices"
SUMS = """
select (select sum(accepted) from usage_counts) = (select sum(accepted) from usage_ledger)
   and (select sum(bots) from usage_counts) = (select sum(bots) from usage_ledger) as same
"""


def following(month: Month) -> Month:
    """The next month."""
    return Month(month.next.year, month.next.month)


def check(ledger: Ledger) -> None:
    """Every load behind an invoice's end is covered by exactly one, and invoices add up to the ledger."""
    assert [] == ledger.rows(UNTILED)
    assert ledger.rows(BILLED) == ledger.rows(INVOICED)
    assert [{"same": True}] == ledger.rows(SUMS)


class Loading:
    """A clock that runs through the years, and loads that come in meanwhile, some of them late."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        """It is the first moment of the first month."""
        self.now = self.closed_until = self._began = datetime(FIRST.year, FIRST.number, 1, tzinfo=UTC)
        self._ledger = ledger
        self._chance = chance

    def load(self, connection: psycopg.Connection[Any]) -> None:
        """Load a segment that was received a moment ago, or up to two weeks."""
        self.now += timedelta(days=self._chance.uniform(0, 12))
        late = timedelta(days=self._chance.choice([0, 0, 0, self._chance.uniform(0, 14)]))
        sites = {site: {"accepted": self._chance.randrange(50), "bots": 1} for site in self._chance.sample("abcdef", 2)}
        # none of a month before the first, which would have to be closed first
        load(connection, max(self._began, self.now - late), sites, self._chance.choice(WRITERS))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Load on and on, beside what the block does."""
        stop = threading.Event()

        def run() -> None:
            with psycopg.connect(self._ledger.url, autocommit=True) as connection:
                while not stop.is_set():
                    if self.now < self.closed_until + timedelta(days=AHEAD_DAYS_MAX):
                        self.load(connection)
                    else:
                        stop.wait(PAUSE_SECONDS)

        with ThreadPoolExecutor(1) as executor:
            done = executor.submit(run)
            try:
                yield
            finally:
                stop.set()
                done.result()


def close_at(url: str, month: Month, now: datetime) -> bool:
    """Close as a command does that begins at that time."""
    with pg.connect(url, name="test") as connection:
        return close(connection, Config(), month, now=now, actor="test")


def at(step: int, place: str) -> Which:
    """Cut at a word, counted from 0 without the last ones of connections, which may still be on their way."""
    words = itertools.count()
    return lambda _, word: place if word != TERMINATE and next(words) == step else ""


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("closings", [CLOSINGS, pytest.param(CLOSINGS_LONG, marks=pytest.mark.long)])
def test_random_instants(ledger: Ledger, closings: int) -> None:
    """Whenever months are closed while events come in, invoices tile the loads exactly and add up to the ledger."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    loading = Loading(ledger, chance)
    month, closed = FIRST, 0
    with loading.running(), ThreadPoolExecutor(2) as executor:
        while closed < closings:
            threading.Event().wait(chance.uniform(0, 0.01))
            if loading.now >= month.end:
                # two commands at once: one of them closes the month, the other finds it closed
                both = [executor.submit(close_at, ledger.url, month, loading.now) for _ in range(2)]
                assert [False, True] == sorted(done.result() for done in both)
                month, closed, loading.closed_until = following(month), closed + 1, month.end
    check(ledger)
    while month.first <= loading.now.date():
        close_at(ledger.url, month, month.end)
        month = following(month)
    assert [{"loads": 0}] == ledger.rows(LEFT)
    check(ledger)

    assert [{"numbers": list(range(1, 1 + ledger.rows("select count(*) as n from invoices")[0]["n"]))}] == ledger.rows(
        NUMBERS
    )


@pytest.mark.crash
def test_cut_at_every_step(ledger: Ledger) -> None:
    """Whichever of its words to the database is a close's last, a second close makes one invoice of it."""
    proxy = Proxy(ledger.url)
    month, cut = FIRST, []
    try:
        for place in (BEFORE, AFTER):
            for step in range(STEPS_MAX):
                with psycopg.connect(ledger.url, autocommit=True) as connection:
                    for writer in WRITERS:
                        load(connection, month.end - timedelta(days=3), {"a": {"accepted": 10, "bots": 1}}, writer)
                proxy.cut(at(step, place))
                with suppress(psycopg.OperationalError, UnreachableError):
                    close_at(proxy.dsn, month, month.end)
                cut.append(proxy.cuts)
                close_at(ledger.url, month, month.end)
                with pg.connect(ledger.url, name="test") as connection:
                    assert (30, 27) == tuple(invoice(connection, month)[name] for name in ("events", "billable"))
                month = following(month)
                if not proxy.cuts:
                    break
    finally:
        proxy.close()

    check(ledger)
    assert ledger.rows("select count(*) as n from invoices") == ledger.rows("select count(*) as n from audit_log")
    # the words of a close, and one run that had fewer, for both places
    steps = cut.index(0)
    assert [1] * steps + [0] == cut[: steps + 1] == cut[steps + 1 :]

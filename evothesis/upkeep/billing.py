"""Billing: the database in, findings out: whether what is billed is stored, and what is over was invoiced."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from evothesis import pg
from evothesis.upkeep.finding import Finding, act, note, ok
from evothesis.usage.check import differences
from evothesis.usage.close import to_close
from evothesis.usage.meter import Month

EVENTS_MAX = 2_000_000  # of a day, which are read in some seconds
NAMED_MAX = 3
DAYS_TO_CLOSE = 3  # the timer closes a month on the second

COUNT = "select coalesce(sum(accepted), 0)::bigint as events from usage_counts where usage_day = %(day)s"
INVOICES = "select count(*) as count from invoices"


def ledger(connection: pg.Connection, today: date) -> Iterator[Finding]:
    """Whether the events of today and yesterday that are billed are stored or were removed, load by load."""
    for day in (today - timedelta(days=1), today):
        events = pg.one(connection, COUNT, {"day": day})["events"]
        if events > EVENTS_MAX:
            yield note(
                "ledger",
                f"{events:,} events of {day} are too many to be counted by the way",
                "evothesis_invariant_difference compares the newest of them: docs/metrics.md",
            )
        elif found := list(map(str, itertools.islice(differences(connection, day), NAMED_MAX))):
            todo = "nobody else may write to these tables; restore a backup, and report it"
            yield act("ledger", "; ".join(found), todo)
        else:
            yield ok("ledger", f"{events:,} events of {day}, billed load by load as they are stored or were removed")


def invoices(connection: pg.Connection, now: datetime) -> Finding:
    """Whether a month waits to be closed: also one that was, before an older backup was restored."""
    count = pg.one(connection, INVOICES)["count"]
    if count == 0:  # and there may be years of loads to look through
        return note("invoices", "no month was ever closed", "evothesis usage close, when a month is over")
    month = to_close(connection, Month.of(now.astimezone(UTC) - timedelta(days=DAYS_TO_CLOSE)))
    if month is None:
        return ok("invoices", f"{count:,} invoices and credits; no month waits to be closed")
    todo = f"evothesis usage close --month {month}; after a restore compare it with the invoice that was sent"
    return act("invoices", f"{month} is over, has events, and is not closed", todo)

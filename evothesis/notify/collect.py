"""Collect: what the ledger and the export left in, what is worth telling of it added to the outbox out.

May run at any time and any number of times: what was told is not told again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from evothesis import outbox, pg
from evothesis.config import Config
from evothesis.exporter.status import Status, status
from evothesis.notify.judge import USUAL_DAYS, crossed, is_spike, untold, usual
from evothesis.setting import Kind
from evothesis.usage.meter import Month
from evothesis.usage.report import report

SETTLED = timedelta(hours=1)  # after a day's end: what was accepted before midnight is loaded by then
DAYS_MAX = 7  # that are told of afterwards, when nothing ran
SITES_MAX = 50  # in a message: receivers expect less than 20 KB
SILENCE_DAYS = 7
SILENCE_EVENTS_MIN = 100  # on these days: fewer may be missing by chance
FAILURES_MIN = 3  # runs in a row: one may be the network's
ERROR_LENGTH_MAX = 1_000

TOLD = "select max(key) as day from outbox where kind = 'usage.daily'"
DAYS = """
select usage_day, sum(accepted)::bigint as events from usage_counts
 where usage_day between %(first)s and %(last)s group by usage_day
"""
SITES = """
select site_id, sum(accepted)::bigint as events from usage_counts where usage_day = %(day)s
 group by site_id having sum(accepted) > 0 order by events desc, site_id
"""
SILENT = """
-- sites that had events on each of the days before, enough of them, and none on this one
select site_id, round(sum(events) / %(days)s)::bigint as usual_events
  from (
    select site_id, usage_day, sum(accepted)::bigint as events from usage_counts
     where usage_day between %(first)s and %(day)s group by site_id, usage_day
  ) by_day
 group by site_id
having count(*) filter (where events > 0 and usage_day < %(day)s) = %(days)s
   and coalesce(sum(events) filter (where usage_day = %(day)s), 0) = 0
   and sum(events) >= %(events_min)s
 order by usual_events desc, site_id
"""

COUNTS = ("events", "billable", "duplicates", "bots", "rejected", "withheld")


class News(NamedTuple):
    """Something worth telling, under the name by which it is told once."""

    kind: Kind
    key: str
    data: dict[str, Any]


def collect(connection: pg.Connection, config: Config, now: datetime) -> None:
    """Add to the outbox what is worth telling at `now`."""
    for news in _news(connection, config, now):
        outbox.add(connection, news.kind, news.key, news.data)


def _news(connection: pg.Connection, config: Config, now: datetime) -> Iterator[News]:
    newest = (now - SETTLED).date() - timedelta(days=1)
    told = pg.one(connection, TOLD)["day"]
    for day in untold(date.fromisoformat(told) if told else None, newest, DAYS_MAX):
        yield from _day(connection, config, day)
    # the ended month too: its last events may have come after the last look at it
    for month in sorted({_month_of(now.date()), _month_of((now - timedelta(days=1)).date())}):
        yield from _thresholds(config, report(connection, config, month, "day"))
    for destination in status(config, connection):
        yield from _export(config, destination, now)


def _month_of(day: date) -> Month:
    return Month(day.year, day.month)


def _day(connection: pg.Connection, config: Config, day: date) -> Iterator[News]:
    month = report(connection, config, _month_of(day), "day")
    counts = next((line for line in month["days"] if line["day"] == str(day)), dict.fromkeys(COUNTS, 0))
    found = connection.execute(SITES, {"day": day}).fetchall()
    sites = {"sites": found[:SITES_MAX], "sites_total": len(found)}
    so_far = {name: month[name] for name in ("month", "events", "billable", "amount", "currency")}
    yield News(
        "usage.daily",
        str(day),
        {"day": day, **{name: counts[name] for name in COUNTS}, "month_so_far": so_far, **sites},
    )
    before = {"first": day - timedelta(days=USUAL_DAYS), "last": day - timedelta(days=1)}
    days = {row["usage_day"]: row["events"] for row in connection.execute(DAYS, before).fetchall()}
    events, expected = counts["events"], usual(day, days)
    if expected is not None and is_spike(events, expected, config.notify.spike_percent):
        yield News("usage.spike", str(day), {"day": day, "events": events, "usual_events": expected, **sites})
    about = {"first": day - timedelta(days=SILENCE_DAYS), "day": day, "days": SILENCE_DAYS}
    silent = connection.execute(SILENT, about | {"events_min": SILENCE_EVENTS_MIN}).fetchall()
    if silent:
        yield News("usage.silence", str(day), {"day": day, "sites": silent[:SITES_MAX], "sites_total": len(silent)})


def _thresholds(config: Config, month: dict[str, Any]) -> Iterator[News]:
    settings = config.notify
    so_far = {name: month[name] for name in ("month", "events", "billable", "amount", "currency")}
    for name, value, expected in (
        ("events_expected", Decimal(month["billable"]), Decimal(settings.events_expected)),
        ("budget", Decimal(month["amount"]), settings.budget),
    ):
        for percent in crossed(value, expected, settings.thresholds):
            yield News(
                "usage.threshold",
                f"{month['month']} {name} {percent}",
                {"percent": percent, "of": name, "expected": str(expected), **so_far},
            )


def _export(config: Config, found: Status, now: datetime) -> Iterator[News]:
    failure = {"error": found.error and found.error[:ERROR_LENGTH_MAX], "hint": found.hint}
    last = {"tried_at": found.tried_at, "succeeded_at": found.succeeded_at}
    if found.lag.seconds >= config.notify.export_late_hours * 3_600:
        lag = {"loads": found.lag.loads, "events": found.lag.events, "seconds": found.lag.seconds}
        key = f"{found.destination} {now.date()}"
        yield News("export.late", key, {"destination": found.destination, "lag": lag, **last, **failure})
    if found.failures >= FAILURES_MIN:
        key = f"{found.destination} since {found.succeeded_at}"
        data = {"destination": found.destination, "failures": found.failures, **last, **failure}
        yield News("export.failed", key, data)

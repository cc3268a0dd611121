"""Forecast: the present month so far and the last days in, what it may come to out."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from evothesis import pg
from evothesis.config import Usage
from evothesis.usage.meter import Month
from evothesis.usage.pricing import billable, price

DAYS = 7  # a whole week, for its days differ
METHOD = "so far, and for each day that is left the mean of the last {days} whole days"

RECENT = """
select usage_day, sum(accepted)::bigint as events, sum(bots)::bigint as bots
  from usage_counts
 where usage_day >= %(first)s and usage_day < %(end)s
 group by usage_day
having sum(accepted) > 0
 order by usage_day
"""


def forecast(connection: pg.Connection, tariff: Usage, month: Month, *, now: datetime) -> dict[str, Any] | None:
    """`{"events", "billable", "amount", "method"}`; None for another month, and before there was a whole day.

    Whole days are counted from the first that has an event, so that a new appliance is not taken for a quiet one.
    """
    today = now.astimezone(UTC).date()
    if not month.first <= today < month.next:
        return None
    since = min(month.first, today - timedelta(days=DAYS))
    rows = connection.execute(RECENT, {"first": since, "end": month.next}).fetchall()
    recent = [row for row in rows if today - timedelta(days=DAYS) <= row["usage_day"] < today]
    if not recent:
        return None
    days = (today - recent[0]["usage_day"]).days
    left = datetime.combine(month.next, time(), UTC) - now

    def expected(name: str) -> int:
        so_far = sum(row[name] for row in rows if row["usage_day"] >= month.first)
        return int(so_far + round(sum(row[name] for row in recent) * (left / timedelta(days=days))))

    events, bots = expected("events"), expected("bots")
    billed = billable(events, bots, tariff)
    return {
        "events": events,
        "billable": billed,
        "amount": str(price(billed, tariff).amount),
        "method": METHOD.format(days=days),
    }

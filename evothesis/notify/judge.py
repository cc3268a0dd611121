"""Judge: numbers in, whether they are worth telling out. Pure; docs/notifications.md states each rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

USUAL_DAYS = 28  # four of each day of the week
USUAL_DAYS_MIN = 7  # with fewer nobody knows what is usual
SPIKE_EVENTS_MIN = 1_000  # above what is usual: three events instead of one are no news


def crossed(value: Decimal, expected: Decimal, thresholds: Iterable[int]) -> list[int]:
    """The thresholds, in percent of what is expected, that a value has reached; an expectation of 0 has none."""
    return sorted({percent for percent in thresholds if expected and 100 * value >= percent * expected})


def usual(day: date, events: Mapping[date, int]) -> int | None:
    """The median of the days before, from the first one with events on; None when there are too few."""
    window = [day - timedelta(days=number) for number in range(USUAL_DAYS, 0, -1)]
    first = next((before for before in window if events.get(before)), None)
    known = [events.get(before, 0) for before in window if first and before >= first]
    return int(median(known)) if len(known) >= USUAL_DAYS_MIN else None


def is_spike(events: int, usual: int | None, spike_percent: int) -> bool:
    """Whether a day has far more events than usual."""
    if usual is None:
        return False
    return 100 * events >= spike_percent * usual and events - usual >= SPIKE_EVENTS_MIN


def untold(told: date | None, newest: date, days_max: int) -> list[date]:
    """The days to tell of, oldest first: those after the last one that was told; at the first time the newest one."""
    if told is None:
        return [newest]
    first = max(told + timedelta(days=1), newest - timedelta(days=days_max - 1))
    return [first + timedelta(days=number) for number in range((newest - first).days + 1)]

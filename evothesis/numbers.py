"""Numbers: what forked processes count, in memory that they share; one who reads adds it up.

The parent maps the board before it forks. Each process has a row that nobody else writes, so that nothing is locked. It
counts in a list of its own and copies that to its row every second: what a count costs is paid by every request. A
process that is started again goes on with its row, so that counters never go back while `serve` runs. Collectors of a
`serve` of their own are read from a file in the spool, the one thing that they share with the operator's listener.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

NAME = "collectors.numbers"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)

# every code that an event or a request may be refused with; what is not among them is counted under the last
REJECTIONS = (
    "event_id_invalid",
    "event_invalid",
    "event_too_large",
    "event_too_many_members",
    "event_type_invalid",
    "site_missing",
    "site_not_allowed",
    "timestamp_invalid",
    "timestamp_out_of_range",
    "session_id_invalid",
    "visitor_id_invalid",
    "site_id_invalid",
    "url_invalid",
    "path_invalid",
    "other",
)
STATUSES = ("200", "400", "403", "404", "405", "408", "413", "415", "417", "429", "503", "other")


class Counter(NamedTuple):
    """A number that only grows, for each value of its label; without a label it has one."""

    name: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ("",)

    @property
    def width(self) -> int:
        """How many numbers it takes."""
        return len(self.values)


class Histogram(NamedTuple):
    """How many values there were up to each bound; behind these stand how many were larger, and the sum of all."""

    name: str
    help: str
    bounds: Sequence[float]

    @property
    def width(self) -> int:
        """How many numbers it takes."""
        return len(self.bounds) + 2


REQUESTS = Counter("evothesis_requests_total", "Requests with events that were answered.", "status", STATUSES)
EVENTS = Counter(
    "evothesis_events_total",
    "Events that senders were told of: accepted ones are on disk.",
    "outcome",
    ("accepted", "rejected", "withheld"),
)
REJECTED = Counter("evothesis_events_rejected_total", "Events that senders were told are wrong.", "code", REJECTIONS)
BATCH = Histogram("evothesis_request_events", "Events in a request.", SIZES)
ACKNOWLEDGED = Histogram("evothesis_ack_seconds", "From a request's events to their being on disk.", SECONDS)
GROUP = Histogram("evothesis_spool_group_requests", "Requests that were made durable by one sync.", SIZES)
WRITTEN = Histogram("evothesis_spool_write_seconds", "To write one group to the spool and sync it.", SECONDS)
LOADED = Counter(
    "evothesis_loaded_events_total",
    "Events that the loader brought into the database, and what became of them.",
    "outcome",
    ("stored", "duplicate", "rejected", "withheld"),
)
BOTS = Counter("evothesis_loaded_bots_total", "Stored events that bots sent; they are not billed.")
LOAD = Histogram("evothesis_load_seconds", "To load one segment.", SECONDS)
LOAD_ROWS = Histogram("evothesis_load_rows", "Rows in a segment.", SIZES)
LOOP_LAG = Histogram("evothesis_loop_lag_seconds", "How late an event loop was, asked each second.", SECONDS)

METRICS: tuple[Counter | Histogram, ...] = (
    REQUESTS,
    EVENTS,
    REJECTED,
    BATCH,
    ACKNOWLEDGED,
    GROUP,
    WRITTEN,
    LOADED,
    BOTS,
    LOAD,
    LOAD_ROWS,
    LOOP_LAG,
)
_FIRST = dict(
    zip(
        (metric.name for metric in METRICS),
        accumulate((metric.width for metric in METRICS[:-1]), initial=0),
        strict=True,
    )
)
WIDTH = sum(metric.width for metric in METRICS)


class Places(NamedTuple):
    """Where the numbers of a histogram are: those of its bounds from `first` on, the sum of all values."""

    first: int
    bounds: Sequence[float]
    sum: int


class Row:
    """The numbers of one process, which others see after `publish`."""

    __slots__ = ("_numbers", "_shared")

    def __init__(self, shared: memoryview[float] | None = None) -> None:
        """Go on with what is there. Without a place that is shared it is for one who works alone."""
        self._shared: memoryview[float] = memoryview(bytearray(WIDTH * 8)).cast("d") if shared is None else shared
        self._numbers: list[float] = [*self._shared]

    def add(self, place: int, amount: float = 1) -> None:
        """Count at a place that `place` told."""
        self._numbers[place] += amount

    def observe(self, places: Places, value: float) -> None:
        """Put a value into a histogram."""
        first, bounds, total = places
        numbers = self._numbers
        numbers[first + bisect_left(bounds, value)] += 1
        numbers[total] += value

    def publish(self) -> None:
        """Show it to others; to be done every second or so, for it costs more than to count."""
        self._shared[:] = array("d", self._numbers)


class Board:
    """A row for each process; made before they are forked."""

    def __init__(self, rows: int, *, elsewhere: Path | None = None) -> None:
        """All of it is 0. `elsewhere` is the spool in which another `serve` shows what its collectors count."""
        self._rows = rows
        self._elsewhere = elsewhere
        self._memory = memoryview(mmap.mmap(-1, rows * WIDTH * 8)).cast("d")

    def row(self, number: int) -> Row:
        """The row of one process; to be asked for by that process."""
        return Row(self._memory[number * WIDTH : (number + 1) * WIDTH])

    def total(self) -> list[float]:
        """What all of them showed, by place."""
        elsewhere = _read(self._elsewhere) if self._elsewhere else []
        numbers = [*self._memory.tolist(), *elsewhere]
        return [sum(numbers[first::WIDTH]) for first in range(WIDTH)]

    def show(self, spool: Path) -> None:
        """Write the total for a board elsewhere. It is news, not a record: nothing is synced."""
        unfinished = spool / f"{NAME}.unfinished"
        unfinished.write_bytes(array("d", self.total()).tobytes())
        unfinished.replace(spool / NAME)


def _read(spool: Path) -> list[float]:
    """What was last shown; nothing when there is none, or of another version."""
    with suppress(OSError, ValueError):
        found = array("d", (spool / NAME).read_bytes()).tolist()
        return found if len(found) == WIDTH else []
    return []


def place(counter: Counter, value: str = "") -> int:
    """Where a counter's number for a value of its label is; the last one is for values that nobody thought of."""
    known = counter.values.index(value) if value in counter.values else len(counter.values) - 1
    return _FIRST[counter.name] + known


def places(histogram: Histogram) -> Places:
    """Where a histogram's numbers are."""
    first = _FIRST[histogram.name]
    return Places(first, histogram.bounds, first + histogram.width - 1)

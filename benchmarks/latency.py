"""Latency: how long a sender waits for its answer, and how long until its event can be read from events_log.

Open loop: requests are due at fixed moments, and their latency counts from then. Each answer comes after fdatasync. An
event is visible from the first look that finds the loader behind its segment; looks are a few milliseconds apart.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.load import quantiles
from benchmarks.machine import Usage
from benchmarks.report import say
from benchmarks.runs import drive
from benchmarks.systems import Appliance

RATES = "1,100,1000"
LOOK_SECONDS = 0.005
REQUESTS_MIN = 30  # of the slowest rate
VISIBLE_BAR = 1_000.0

POSITIONS = "select writer, next_segment_no from writers"  # moved by the transaction that stores a segment
SEGMENTS = "select event_id::text, writer, segment_no from events_log where event_id = any(%s::uuid[])"


@dataclass
class Found:
    """Latencies at one rate, in milliseconds."""

    ack: dict[str, float]
    visible: dict[str, float]
    statuses: dict[str, int]
    usage: Usage

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {"ack_ms": self.ack, "visible_ms": self.visible, "statuses": self.statuses, **self.usage.as_json()}


@contextmanager
def looking(system: Appliance, *, seconds: float = LOOK_SECONDS) -> Iterator[dict[tuple[int, int], float]]:
    """Look again and again, with so many seconds between; the first moment at which each segment was seen."""
    seen: dict[tuple[int, int], float] = {}
    positions: dict[int, int] = {}
    stop = threading.Event()

    def look() -> None:
        with system.connect() as connection:
            while not stop.wait(seconds):
                rows = connection.execute(POSITIONS).fetchall()
                now = time.monotonic()
                for writer, position in rows:
                    seen.update(((writer, number), now) for number in range(positions.get(writer, 0), position))
                    positions[writer] = position

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        time.sleep(10 * seconds)
        stop.set()
        thread.join()


def measure(system: Appliance, acks: Path, *, rate: float, seconds: float, events: int) -> Found:
    """Send at a rate for a while."""
    requests = max(REQUESTS_MIN, int(rate * seconds))
    options = ["--requests", str(requests), "--rate", str(rate), "--events", str(events), "--acks", str(acks)]
    with looking(system) as seen:
        run = drive(system, options)
    waits = [wait for _answered_at, wait in waits_of(system, acks, seen)]
    return Found(run.load["latency_ms"], quantiles(waits), run.load["statuses"], run.usage)


def waits_of(system: Appliance, acks: Path, seen: dict[tuple[int, int], float]) -> list[tuple[float, float]]:
    """For each request the moment of its answer, and the seconds from then until its first event was seen."""
    answered = [line.split(",") for line in acks.read_text().splitlines()]
    with system.connect() as connection:
        rows = connection.execute(SEGMENTS, [[event_id for event_id, _ in answered]])
        segments = {row[0]: (row[1], row[2]) for row in rows}
    return [(float(moment), seen[segments[event_id]] - float(moment)) for event_id, moment in answered]


def arguments_of(description: str | None) -> argparse.Namespace:
    """The command line."""
    parser = report.parser("latency", description)
    parser.add_argument("--rates", default=RATES, help="requests a second (%(default)s)")
    parser.add_argument("--events", type=int, default=1, help="of each request (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="at each rate (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    arguments = arguments_of(__doc__)
    patience = report.patience(arguments)
    shutil.rmtree(arguments.folder, ignore_errors=True)
    system = Appliance(arguments.folder / "evothesis")
    acks = arguments.folder / "acks.csv"
    found: dict[str, Found] = {}
    system.start()
    try:
        drive(system, ["--requests", "2000"])
        for rate in map(float, arguments.rates.split(",")):
            found[f"{rate:g}"], _rejected = patience.accepted(
                lambda: measure(system, acks, rate=rate, seconds=arguments.seconds, events=arguments.events)  # noqa: B023 - called at once
            )
            say(f"{rate:g} requests/s: others took {found[f'{rate:g}'].usage.foreign_cores:.2f} cores")
    finally:
        system.stop()
    shutil.rmtree(arguments.folder)
    lines = [
        [
            rate,
            *(result.ack[name] for name in ("p50", "p99", "max")),
            *(result.visible[name] for name in ("p50", "p99")),
            f"{result.usage.foreign_cores:.2f}",
        ]
        for rate, result in found.items()
    ]
    header = [
        "requests/s",
        "ack p50 ms",
        "ack p99 ms",
        "ack max ms",
        "visible p50 ms",
        "visible p99 ms",
        "foreign cores",
    ]
    worst = max(result.visible["p99"] for result in found.values())
    result = {"events_per_request": arguments.events, "rates": {rate: one.as_json() for rate, one in found.items()}}
    verdict = f"From the answer to visible, p99 at the worst rate: {worst:.0f} ms (bar: < {VISIBLE_BAR:.0f} ms)."
    report.finish(arguments.json, result, [report.table(header, lines), verdict])


if __name__ == "__main__":
    report.run(main)

r"""Throughput: events that are acknowledged and stored, a second, beside the limit and the peers, in one run.

Rounds are interleaved (ours, the limit, the peers, ours, …), so that a slow minute of the machine meets all of them.
Ours: batches of ten over loopback, the generator on the same machine; answered after fdatasync, loaded with
deduplication by a transaction with synchronous_commit; the clock runs from the first byte sent until the last
acknowledged event is visible in events_log. The limit: `\copy` of the rows that ours stored. Peers: benchmarks/peers.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks import report
from benchmarks.copy_limit import copy, export_rows
from benchmarks.machine import Rate
from benchmarks.report import say, spread
from benchmarks.runs import drive
from benchmarks.systems import (
    Appliance,
    AsShipped,
    AsShippedSingle,
    Database,
    FirstVersion,
    FirstVersionSingle,
    System,
)

OURS = ("collectors", "loader", "backends", "postgres, background", "serve", "admin")
BARS = {"limit": 0.5, "peer a": 12.0, "peer b": 80.0, "peer c": 12.0, "peer d": 80.0}
CPU_BAR = 45.0
WARM_UP_SHARE = 0.1
TITLES = {
    "evothesis": "evothesis",
    "limit": "the limit: `\\copy` by itself",
    "peer a": "peer a, tuned: a commit for each request",
    "peer b": "peer b, tuned: a commit for each event",
    "peer c": "peer c, as shipped: a commit for each request",
    "peer d": "peer d, as shipped: a commit for each event",
}
WANTED = ("fastapi", "uvicorn", "httptools", "sqlalchemy", "psycopg2")  # by the peers


class Bench:
    """The systems, and what was found in each round."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Nothing runs yet."""
        folder: Path = arguments.folder
        self._rows = folder.absolute() / "rows.copy"
        self._patience = report.patience(arguments)
        self._connections = arguments.connections
        self._limit = Database(folder / "limit")
        self._systems: list[tuple[System, int]] = [
            (Appliance(folder / "evothesis"), arguments.requests),
            (FirstVersion(folder / "a"), arguments.requests_a),
            (FirstVersionSingle(folder / "b"), arguments.requests_b),
            (AsShipped(folder / "c"), arguments.requests_c),
            (AsShippedSingle(folder / "d"), arguments.requests_d),
        ]
        self.found: dict[str, list[Rate]] = {name: [] for name in TITLES}
        self.rejected: dict[str, list[Rate]] = {name: [] for name in TITLES}

    def round(self) -> None:
        """Each of them once."""
        for system, requests in self._systems:
            system.start()
            try:
                self._send(system, requests)
            finally:
                system.stop()
            if system.name == "evothesis":
                self._limit.start()
                try:
                    self._note("limit", lambda: copy(self._limit, self._rows))
                finally:
                    self._limit.stop()

    def _send(self, system: System, requests: int) -> None:
        options = ["--connections", str(self._connections), "--requests"]
        before = system.count()
        acked = drive(system, [*options, str(max(100, int(requests * WARM_UP_SHARE)))]).events
        acked += self._note(system.name, lambda: drive(system, [*options, str(requests)]))
        if (stored := system.count() - before) != acked:
            message = f"{system.name} acknowledged {acked} events, {stored} are stored"
            raise RuntimeError(message)
        if not self._rows.exists():
            with system.connect() as connection:
                export_rows(connection, self._rows)

    def _note(self, name: str, measure: Callable[[], Rate]) -> int:
        """How many events all attempts had."""
        found, rejected = self._patience.accepted(measure)
        self.found[name].append(found)
        self.rejected[name] += rejected
        others = ", ".join(f"{run.usage.foreign_cores:.2f}" for run in [*rejected, found])
        say(f"{name}: {found.events_per_second:,.0f} events/s; others took {others} cores")
        return sum(run.events for run in [*rejected, found])


def ratios(found: dict[str, list[Rate]]) -> dict[str, float]:
    """Ours over each of the others: medians over all rounds."""
    rates = {name: statistics.median(run.events_per_second for run in runs) for name, runs in found.items()}
    return {name: round(rates["evothesis"] / rates[name], 2) for name in BARS}


def tables(found: dict[str, list[Rate]]) -> list[str]:
    """Ratios first, then what they were made of."""
    ours = [run.microseconds(*OURS) for run in found["evothesis"]]
    compared = [
        [f"evothesis / {TITLES[name]}", ratio, f"≥ {BARS[name]:g}", "yes" if ratio >= BARS[name] else "no"]
        for name, ratio in ratios(found).items()
    ]
    cpu = statistics.median(ours)
    title = "µs of CPU for an event: collectors, loader, PostgreSQL"
    compared.append([title, round(cpu, 1), f"≤ {CPU_BAR:g}", "yes" if cpu <= CPU_BAR else "no"])
    rates = []
    for name, runs in found.items():
        rate = spread([run.events_per_second for run in runs])
        others = max(run.usage.foreign_cores for run in runs)
        cost = statistics.median(run.microseconds(*OURS, "workers", "clients") for run in runs)
        rates.append([TITLES[name], rate["median"], rate["min"], rate["max"], round(cost, 1), f"{others:.2f}"])
    groups = [*OURS, "generator"]
    parts = [[name, *(round(run.microseconds(name), 1) for run in found["evothesis"])] for name in groups]
    return [
        report.table(["ratio", "measured", "bar", "met"], compared),
        report.table(["events/s", "median", "min", "max", "µs CPU/event", "foreign cores ≤"], rates),
        report.table(["µs CPU/event of evothesis", *(f"round {n + 1}" for n in range(len(ours)))], parts),
    ]


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("throughput", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="of the generator (%(default)s)")
    parser.add_argument("--requests", type=int, default=30_000, help="of ten events each, for ours (%(default)s)")
    parser.add_argument("--requests-a", type=int, default=8_000, help="the same for peer a (%(default)s)")
    parser.add_argument("--requests-b", type=int, default=2_500, help="the same for peer b (%(default)s)")
    parser.add_argument("--requests-c", type=int, default=1_500, help="the same for peer c (%(default)s)")
    parser.add_argument("--requests-d", type=int, default=300, help="the same for peer d (%(default)s)")
    arguments = parser.parse_args()
    if missing := [name for name in WANTED if find_spec(name) is None]:
        message = f"the peers want {', '.join(missing)}; run: uv pip install --group bench"
        raise RuntimeError(message)
    shutil.rmtree(arguments.folder, ignore_errors=True)
    bench = Bench(arguments)
    for number in range(arguments.rounds):
        say(f"Round {number + 1} of {arguments.rounds}.")
        bench.round()
    shutil.rmtree(arguments.folder)
    result = {
        "ratios": ratios(bench.found),
        "rounds": {name: [run.as_json() for run in runs] for name, runs in bench.found.items()},
        "rejected": {name: [run.as_json() for run in runs] for name, runs in bench.rejected.items()},
    }
    report.finish(arguments.json, result, tables(bench.found))


if __name__ == "__main__":
    report.run(main)

"""Small: the whole appliance on one CPU, at the rate of 300 million events a month, with bursts of ten times that.

Everything that the appliance starts, PostgreSQL too, is pinned to one CPU; the load generator runs on another one,
where the machine has one. Memory is not limited but added up: proportional set sizes (PSS) count shared pages once.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import machine, report
from benchmarks.machine import Patience, Usage
from benchmarks.runs import Run, drive
from benchmarks.systems import Appliance

EVENTS_PER_SECOND = 115.0  # 300 million in thirty days
EVENTS_PER_REQUEST = 10
BURST = {"--burst-factor": "10", "--burst-seconds": "10", "--period-seconds": "60"}
BURST_SHARE = 1 + (10 - 1) * 10 / 60  # of the calm rate, on average
SAMPLE_SECONDS = 5.0
MEMORY_BAR = 512.0
GROUPS = ("collectors", "loader", "backends", "postgres, background", "serve", "admin")


class Found:
    """One run, and the most memory that was seen meanwhile."""

    def __init__(self, run: Run, memory: dict[str, float]) -> None:
        """`memory` is in MiB, by group."""
        self.run = run
        self.memory = memory

    @property
    def usage(self) -> Usage:
        """Of the run."""
        return self.run.usage

    @property
    def cpu_share(self) -> float:
        """Of the one CPU."""
        return sum(self.usage.cpu_seconds.get(group, 0) for group in GROUPS) / self.usage.seconds


@contextmanager
def watching_memory(root: int) -> Iterator[dict[str, float]]:
    """The sample with the largest sum."""
    largest: dict[str, float] = {}
    stop = threading.Event()

    def look() -> None:
        while True:
            sample = machine.memory(root)
            if sum(sample.values()) > sum(largest.values()):
                largest.clear()
                largest.update(sample)
            if stop.wait(SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield largest
    finally:
        stop.set()
        thread.join()


def measure(system: Appliance, *, minutes: int, generator_cpu: int) -> Found:
    """Send for some minutes."""
    rate = EVENTS_PER_SECOND / EVENTS_PER_REQUEST
    requests = int(rate * BURST_SHARE * 60 * minutes)
    options = ["--requests", str(requests), "--rate", str(rate), "--cpu", str(generator_cpu)]
    for name, value in BURST.items():
        options += [name, value]
    assert system.process is not None  # noqa: S101 - it was started
    with watching_memory(system.process.pid) as memory:
        run = drive(system, options)
    return Found(run, memory)


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("small", __doc__)
    parser.add_argument("--minutes", type=int, default=3, help="each begins with a burst of ten seconds (%(default)s)")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    cpus = sorted(os.sched_getaffinity(0))
    system = Appliance(arguments.folder / "evothesis")
    os.sched_setaffinity(0, cpus[:1])  # what is started from here on stays there
    patience: Patience = report.patience(arguments)
    system.start()
    try:
        drive(system, ["--requests", "500", "--cpu", str(cpus[-1])])
        found, _rejected = patience.accepted(lambda: measure(system, minutes=arguments.minutes, generator_cpu=cpus[-1]))
    finally:
        system.stop()
    shutil.rmtree(arguments.folder)
    load, total = found.run.load, sum(found.memory.values())
    names = ("p50", "p99", "max")
    latency = [
        [name, *(load[key][quantile] for quantile in names)]
        for name, key in (("calm, 115 events/s", "calm_latency_ms"), ("burst, 1,150 events/s", "burst_latency_ms"))
    ]
    memory = [[name, megabytes] for name, megabytes in sorted(found.memory.items())]
    tables = [
        report.table(
            ["on one CPU", "measured", "bar"],
            [
                ["share of the CPU", f"{found.cpu_share:.1%}", ""],
                ["memory of all processes, PSS, MiB", round(total), f"≤ {MEMORY_BAR:.0f}"],
                ["foreign cores meanwhile", f"{found.usage.foreign_cores:.2f}", ""],
            ],
        ),
        report.table(["ack latency", "p50 ms", "p99 ms", "max ms"], latency),
        report.table(["memory, PSS", "MiB"], [*memory, ["all", round(total, 1)]]),
    ]
    result = {"cpu_share": found.cpu_share, "memory_mib": found.memory, "run": found.run.as_json(), "load": load}
    report.finish(arguments.json, result, tables)


if __name__ == "__main__":
    main()

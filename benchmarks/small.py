"""Small: the whole appliance on one CPU with 512 MiB, at 300 million events a month, with bursts of ten times that.

Everything that the appliance starts, PostgreSQL too, is pinned to one CPU and lives in a control group that cannot have
more memory, file cache included; the load generator is outside, on another CPU where the machine has one. That needs
root. A load as fast as it goes comes first, so that the memory is full before the minutes that count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.control_group import MIB, Content, ControlGroup
from benchmarks.latency import looking, waits_of
from benchmarks.load import Schedule, quantiles
from benchmarks.machine import Usage
from benchmarks.report import say
from benchmarks.runs import Run, drive
from benchmarks.systems import Appliance

EVENTS_PER_SECOND = 115.0  # 300 million in thirty days
EVENTS_PER_REQUEST = 10
RATE = EVENTS_PER_SECOND / EVENTS_PER_REQUEST
BURST_FACTOR, BURST_SECONDS, PERIOD_SECONDS = 10, 10, 60
BURSTS_SHARE = 1 + (BURST_FACTOR - 1) * BURST_SECONDS / PERIOD_SECONDS  # of the calm rate, on average
SCHEDULE = Schedule(RATE, BURST_FACTOR, BURST_SECONDS, PERIOD_SECONDS)
WARM_UP_REQUESTS = 20_000  # what they leave, in PostgreSQL's buffers and in files, is more than there is room for
LOOK_SECONDS = 0.02  # the looks are part of what is measured
SAMPLE_SECONDS = 2.0
MINUTE_SECONDS = 60
VISIBLE_BAR = 1_000.0
GROUPS = ("collectors", "loader", "backends", "postgres, background", "serve", "admin")


@dataclass
class Found:
    """What one run showed."""

    run: Run
    burst_visible: dict[str, float]  # milliseconds from the answer, of requests answered in a burst
    most: Content  # of each kind, whenever it was
    by_group: dict[str, float] = field(default_factory=dict)  # PSS in the end, MiB

    @property
    def usage(self) -> Usage:
        """Of the run."""
        return self.run.usage

    @property
    def cpu_share(self) -> float:
        """Of the one CPU."""
        return sum(self.usage.cpu_seconds.get(group, 0) for group in GROUPS) / self.usage.seconds

    @property
    def refused(self) -> int:
        """Requests that were not answered 2xx."""
        return int(self.run.load["requests"] - self.run.events / EVENTS_PER_REQUEST)


@contextmanager
def sampling(group: ControlGroup) -> Iterator[list[Content]]:
    """What the group holds, again and again; once a minute it is said."""
    samples = [group.content()]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            samples.append(group.content())
            seconds = (len(samples) - 1) * SAMPLE_SECONDS
            if seconds % MINUTE_SECONDS == 0:
                now = samples[-1]
                say(f"{seconds / MINUTE_SECONDS:.0f} min: {now.total:.0f} MiB, file cache {now.files:.0f} of them")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def measure(system: Appliance, group: ControlGroup, *, minutes: int, generator_cpu: int) -> Found:
    """Send for some minutes."""
    acks = system.folder / "acks.csv"
    options = {
        "--requests": int(RATE * BURSTS_SHARE * MINUTE_SECONDS * minutes),
        "--rate": RATE,
        "--burst-factor": BURST_FACTOR,
        "--burst-seconds": BURST_SECONDS,
        "--period-seconds": PERIOD_SECONDS,
        "--cpu": generator_cpu,
        "--acks": acks,
    }
    with sampling(group) as samples, looking(system, seconds=LOOK_SECONDS) as seen:
        run = drive(
            system,
            [str(part) for option in options.items() for part in option],
            seconds_max=(minutes + 2) * MINUTE_SECONDS,
        )
    assert system.process is not None  # noqa: S101 - it was started
    by_group = machine.memory(system.process.pid)
    began = run.load["began_at"]
    waits = [wait for moment, wait in waits_of(system, acks, seen) if SCHEDULE.is_burst(moment - began)]
    return Found(run, quantiles(waits), Content(*map(max, zip(*samples, strict=True))), by_group)


class Counted:
    """What is known when all attempts are over."""

    def __init__(self, system: Appliance, group: ControlGroup, acked: int) -> None:
        """`acked` are all events that the system ever acknowledged."""
        self.lost = acked - system.count()
        self.peak = group.peak()
        self.kills = group.kills()
        self.major_faults = group.major_faults()


def tables(found: Found, counted: Counted, *, bytes_max: int) -> list[str]:
    """Verdicts first, then what they were made of."""
    load, visible = found.run.load, found.burst_visible["p99"]
    verdicts = [
        ["share of the CPU", f"{found.cpu_share:.1%}", ""],
        ["events acknowledged", found.run.events, ""],
        ["events acknowledged and not stored", counted.lost, "0"],
        ["requests not acknowledged", found.refused, "0"],
        ["from the answer to visible, in bursts, p99 ms", round(visible), f"< {VISIBLE_BAR:.0f}"],
        ["most memory ever, file cache included, MiB", round(counted.peak), f"≤ {bytes_max / MIB:.0f}"],
        ["processes killed for want of memory", counted.kills, "0"],
        ["foreign cores meanwhile", f"{found.usage.foreign_cores:.2f}", ""],
    ]
    names = ("p50", "p99", "max")
    latency = [
        [name, *(load[key][quantile] for quantile in names)]
        for name, key in (("calm, 115 events/s", "calm_latency_ms"), ("burst, 1,150 events/s", "burst_latency_ms"))
    ]
    most = [
        ["private to processes", round(found.most.private)],
        ["shared, PostgreSQL's buffers above all", round(found.most.shared)],
        ["the kernel's for them", round(found.most.kernel)],
        ["file cache, which takes what is left", round(found.most.files)],
        ["times that something was read from the disk again", counted.major_faults],
    ]
    parts = [[name, size] for name, size in sorted(found.by_group.items())]
    return [
        report.table(["on one CPU", "measured", "bar"], verdicts),
        report.table(["ack latency", "p50 ms", "p99 ms", "max ms"], latency),
        report.table(["memory of the group", "most, MiB"], most),
        report.table(["memory of processes, PSS", "in the end, MiB"], parts),
    ]


def _run(arguments: argparse.Namespace, group: ControlGroup, cpus: list[int]) -> tuple[Found, Counted]:
    folder: Path = arguments.folder / "evothesis"
    pinned = ["taskset", "--cpu-list", str(cpus[0])]
    system = Appliance(folder, prefix=[*pinned, *group.prefix()])
    system.start()
    try:
        cpu = cpus[-1]
        say("Filling the memory.")
        acked = drive(system, ["--requests", str(WARM_UP_REQUESTS), "--cpu", str(cpu)]).events
        minutes: int = arguments.minutes
        found, rejected = report.patience(arguments).accepted(
            lambda: measure(system, group, minutes=minutes, generator_cpu=cpu)
        )
        acked += sum(one.run.events for one in [found, *rejected])
        return found, Counted(system, group, acked)
    finally:
        system.stop()


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("small", __doc__)
    parser.add_argument("--minutes", type=int, default=5, help="each begins with a burst (%(default)s)")
    parser.add_argument("--mebibytes", type=int, default=512, help="that all of it may have (%(default)s)")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    bytes_max = arguments.mebibytes * MIB
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) == 1:
        say("One CPU only: the generator shares it.")
    group = ControlGroup(bytes_max)
    try:
        found, counted = _run(arguments, group, cpus)
    finally:
        group.remove()
    shutil.rmtree(arguments.folder)
    result: dict[str, Any] = {
        "cpu_share": found.cpu_share,
        "bytes_max": bytes_max,
        "most_mib": found.most._asdict(),
        "by_group_mib": found.by_group,
        "burst_visible_ms": found.burst_visible,
        "run": found.run.as_json(),
        "load": found.run.load,
        **vars(counted),
    }
    report.finish(arguments.json, result, tables(found, counted, bytes_max=bytes_max))


if __name__ == "__main__":
    report.run(main)

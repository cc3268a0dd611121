"""Stream: whether readers of the live stream slow the loader, and whether each is sent every event.

The same load, events at a steady rate, without a reader and with many; in turn, so that what changes meanwhile changes
for both. An event is visible from the first look that finds the loader behind its segment. A reader is behind by what
passes from that moment for the last event until it was sent to it.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.latency import looking, waits_of
from benchmarks.load import quantiles
from benchmarks.machine import Usage
from benchmarks.report import say
from benchmarks.runs import drive
from benchmarks.systems import ROOT, TOKEN, Appliance

READERS = 200
RATE = 1_000  # events a second
EVENTS = 10  # of each request
READ_SECONDS_MAX = 60


@dataclass
class Found:
    """What one run showed; latencies in milliseconds, CPU in cores."""

    ack: dict[str, float]
    visible: dict[str, float]
    cores: dict[str, float]
    behind: list[float]
    missing: int
    usage: Usage

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "ack_ms": self.ack,
            "visible_ms": self.visible,
            "cores": self.cores,
            "behind_ms": self.behind,
            "missing": self.missing,
            **self.usage.as_json(),
        }


@contextmanager
def reading(system: Appliance, readers: int) -> Iterator[dict[str, Any]]:
    """So many readers; when the block has ended, what they were sent."""
    found: dict[str, Any] = {"events": [], "last_at": []}
    if not readers:
        yield found
        return
    # in life they are other machines: here they must not take the loader's CPU
    command = ["nice", "-n", "10", sys.executable, "-m", "benchmarks.readers", system.admin_url]
    command += ["--readers", str(readers)]
    process = subprocess.Popen(
        [*command, "--token", TOKEN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        if process.stdout.readline() != "ready\n":
            message = "the readers did not get ready"
            raise RuntimeError(message)
        yield found
        output, _ = process.communicate("", timeout=READ_SECONDS_MAX)
        found |= json.loads(output)
    finally:
        process.kill()
        process.wait()


def measure(system: Appliance, acks: Path, *, readers: int, rate: float, seconds: float) -> Found:
    """Send for a while, while so many read."""
    requests = int(rate * seconds / EVENTS)
    options = ["--requests", str(requests), "--rate", str(rate / EVENTS), "--events", str(EVENTS), "--acks", str(acks)]
    with reading(system, readers) as sent, looking(system) as seen:
        run = drive(system, options)
    waits = [wait for _answered_at, wait in waits_of(system, acks, seen)]
    last_seen = max(seen.values())
    spent = run.usage.seconds
    return Found(
        ack=run.load["latency_ms"],
        visible=quantiles(waits),
        cores={name: used / spent for name, used in run.usage.cpu_seconds.items()},
        behind=[max(0, at - last_seen) * 1_000 for at in sent["last_at"]],
        missing=sum(run.events - events for events in sent["events"]),
        usage=run.usage,
    )


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("stream", __doc__)
    parser.add_argument("--readers", type=int, default=READERS, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=RATE, help="events a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of each run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind (%(default)s)")
    arguments = parser.parse_args()
    patience = report.patience(arguments)
    shutil.rmtree(arguments.folder, ignore_errors=True)
    system = Appliance(arguments.folder / "evothesis")
    acks = arguments.folder / "acks.csv"
    found: dict[int, list[Found]] = {0: [], arguments.readers: []}
    system.start()
    try:
        drive(system, ["--requests", "500"])
        for _ in range(arguments.rounds):
            for readers, runs in found.items():
                run, _rejected = patience.accepted(
                    partial(measure, system, acks, readers=readers, rate=arguments.rate, seconds=arguments.seconds)
                )
                runs.append(run)
                say(f"{readers} readers: visible p99 {run.visible['p99']:.0f} ms, {run.missing} events missing")
                time.sleep(1)  # until the readers' connections are gone
    finally:
        system.stop()
    shutil.rmtree(arguments.folder)
    tables = [report.table(*_table(found))]
    result = {"readers": {str(count): [run.as_json() for run in runs] for count, runs in found.items()}}
    report.finish(arguments.json, result, tables)


def _table(found: dict[int, list[Found]]) -> tuple[list[str], list[list[object]]]:
    """Medians of the runs, the worst of what readers were behind by."""
    header = ["readers", "ack p99 ms", "visible p50 ms", "visible p99 ms", "loader cores", "admin cores"]
    header += ["behind p50 ms", "behind max ms", "events missing", "foreign cores ≤"]
    lines = []
    for readers, runs in found.items():
        behind = [one for run in runs for one in run.behind]
        lines.append(
            [
                readers,
                statistics.median(run.ack["p99"] for run in runs),
                statistics.median(run.visible["p50"] for run in runs),
                statistics.median(run.visible["p99"] for run in runs),
                statistics.median(run.cores["loader"] for run in runs),
                statistics.median(run.cores["admin"] for run in runs),
                statistics.median(behind) if behind else "",
                max(behind) if behind else "",
                sum(run.missing for run in runs),
                f"{max(run.usage.foreign_cores for run in runs):.2f}",
            ]
        )
    return header, lines


if __name__ == "__main__":
    report.run(main)

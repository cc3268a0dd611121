"""Runs: a system and a load in; what became of it, and what it cost, out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.machine import Rate, Usage, Watch
from benchmarks.systems import ROOT, System

VISIBLE_SECONDS_MAX = 120
POLL_SECONDS = 0.01
RUN_SECONDS_MAX = 900  # without a schedule


class Run(Rate):
    """Acknowledged events; `load` is what the generator said."""

    def __init__(self, load: dict[str, Any], visible_at: float, usage: Usage) -> None:
        """`visible_at` is when the last of them was visible: the clock runs from the first byte sent until then."""
        self.load = load
        self.events = int(load["events_acked"])
        self.events_per_second = self.events / (visible_at - load["began_at"])
        self.usage = usage

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return super().as_json() | {"statuses": self.load["statuses"], "latency_ms": self.load["latency_ms"]}


class Generator:
    """`benchmarks.load` in a process of its own, rendered and waiting."""

    def __init__(self, url: str, options: Sequence[str]) -> None:
        """Return when it is ready."""
        command = [sys.executable, "-m", "benchmarks.load", url, "--hold", *options]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        if self._process.stdout.readline() != b"ready\n":
            message = "the load generator did not get ready"
            raise RuntimeError(message)

    def run(self, seconds_max: float) -> dict[str, Any]:
        """Send everything; returns what it says."""
        try:
            output, _ = self._process.communicate(b"\n", timeout=seconds_max)
        except BaseException:  # Ctrl-C, too: nothing is sent any more
            self._process.kill()
            self._process.wait()
            raise
        if self._process.returncode:
            message = "the load generator failed"
            raise RuntimeError(message)
        answer: dict[str, Any] = json.loads(output)
        return answer


def drive(system: System, options: Sequence[str], *, seconds_max: float = RUN_SECONDS_MAX) -> Run:
    """Send a load to a running system and wait until everything acknowledged is visible.

    Raises TimeoutError when that does not happen: something acknowledged was lost.
    """
    generator = Generator(system.url, [*system.load_options, *options])
    with system.connect() as connection:
        before = system.stored(connection)
        connection.execute("checkpoint")
        watch = Watch()
        load = generator.run(seconds_max)
        deadline = time.monotonic() + VISIBLE_SECONDS_MAX
        while (stored := system.stored(connection) - before) < load["events_acked"]:
            if time.monotonic() > deadline:
                message = f"{load['events_acked']} events were acknowledged, {stored} are visible"
                raise TimeoutError(message)
            time.sleep(POLL_SECONDS)
        visible_at = time.monotonic()
    usage = watch.stop()
    usage.cpu_seconds.pop("clients", None)  # what the generator used before the first request, too
    usage.cpu_seconds["generator"] = load["cpu_seconds"]
    return Run(load, visible_at, usage)

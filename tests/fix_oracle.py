"""Oracle processes that send to appliances: `make_oracle(appliance, events_per_second=…)`; the seed is printed.

`invariants(appliance, oracle)` compares what they sent with what became of it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.appliance import ROOT, Appliance
from tests.invariants import broken
from tests.oracle.journal import Journal

END_SECONDS_MAX = 90  # longer than it tries to deliver one request
LIVENESS_SECONDS_MAX = 20  # after a fault, until a new event is in the database

MakeOracle = Callable[..., "Oracle"]


class Oracle:
    """One sender; see `python -m tests.oracle --help`."""

    def __init__(
        self, url: str, journal: Path, *, seed: int, connections: int = 8, events_per_second: float = 0
    ) -> None:
        """Start it; nothing is sent before it is told to."""
        self.journal = Journal(journal)
        self.seed = seed
        command = [sys.executable, "-m", "tests.oracle", "--url", url, "--journal", str(journal), "--seed", str(seed)]
        command += ["--connections", str(connections), "--events-per-second", str(events_per_second)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self) -> None:
        """Send new events from now on."""
        self._tell("run")

    def send(self, events: int) -> Any:  # noqa: ANN401 - its counts as JSON
        """Send that many new events; returns when every one has its answer."""
        return self._tell(f"send {events}")

    def pause(self) -> Any:  # noqa: ANN401 - its counts as JSON
        """Send nothing new; returns when nothing is on its way."""
        return self._tell("pause")

    def close(self) -> None:
        """End it."""
        try:
            self._process.communicate(timeout=END_SECONDS_MAX)
        finally:
            self._process.kill()
            self._process.wait()

    def _tell(self, command: str) -> Any:  # noqa: ANN401 - any JSON value
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(command + "\n")
        answer = self._process.stdout.readline()
        assert answer, "the oracle ended"
        return json.loads(answer)


class Outcome(NamedTuple):
    """What was compared."""

    acked: int
    stored: int
    duplicates: int
    unknown: int
    rejected: int


def check_invariants(appliance: Appliance, oracle: Oracle) -> Outcome:
    """Assert that all seven hold, in each bucket; the oracle pauses, and the appliance runs."""
    oracle.pause()
    before = oracle.journal.read().acked.total()
    deadline = time.monotonic() + LIVENESS_SECONDS_MAX
    while oracle.journal.read().acked.total() == before:  # some events are made to be refused
        assert time.monotonic() < deadline, f"liveness: no event was accepted within {LIVENESS_SECONDS_MAX} s"
        oracle.send(1)
    appliance.wait_until_drained(deadline - time.monotonic())
    assert 0 == appliance.export()["pending"]
    months = appliance.rows("select distinct to_char(usage_day, 'YYYY-MM') as month from usage_ledger")
    usage = [appliance.usage("--month", row["month"]) for row in months]
    assert [] == broken(oracle.journal, appliance.dsn, appliance.buckets, usage)
    return Outcome(
        acked=len(+oracle.journal.acked),
        stored=sum(month["events"] for month in usage),
        duplicates=sum(month["duplicates"] for month in usage),
        unknown=oracle.journal.unknown.total(),
        rejected=sum(month["rejected"] for month in usage),
    )


@pytest.fixture
def make_oracle(tmp_path: Path) -> Iterator[MakeOracle]:
    """Start oracles: `make_oracle(appliance, seed=…, connections=…, events_per_second=…)`."""
    made: list[Oracle] = []

    def make(
        appliance: Appliance, *, seed: int | None = None, connections: int = 8, events_per_second: float = 0
    ) -> Oracle:
        seed = random.randrange(1_000_000) if seed is None else seed
        print(f"oracle: seed={seed}")  # noqa: T201 - pytest shows it with a failure; it repeats the run
        journal = tmp_path / f"journal-{len(made)}.jsonl"
        url = appliance.url + "/collect"
        oracle = Oracle(url, journal, seed=seed, connections=connections, events_per_second=events_per_second)
        made.append(oracle)
        return oracle

    yield make
    for oracle in made:
        oracle.close()


@pytest.fixture
def invariants() -> Callable[..., Outcome]:
    """All seven invariants: `invariants(appliance, oracle)` lets everything arrive, delivers it, and compares."""
    return check_invariants

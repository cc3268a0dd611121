"""Failpoints: an export is killed before and after each single thing that it says to its database or its buckets."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Lock
from typing import NamedTuple

import msgspec
import pytest

from evothesis.config import Destination
from evothesis.exporter.store import store
from evothesis.exporter.verify import verify
from tests.exporter.conftest import Exporting
from tests.exporter.seam import HOUR, delivered, events, in_order, listed
from tests.exporter.test_crash import begin, orphans
from tests.exporter.test_manifest import check
from tests.exporter.wire import Fault, wire
from tests.faults.proxy import AFTER, BEFORE, Proxy
from tests.fix_s3 import S3, Bucket

FORMATS = ["parquet", "csv", "ndjson"]
SAMPLE = 4
STEPS_MIN = 100  # a run has more
SLICES = 8
RUN_SECONDS_MAX = 60


class Killer(Fault):
    """Counts what is said on all ways, and kills who says it at one of them: before it is heard, or unheard by him."""

    def __init__(self) -> None:
        """Everything passes."""
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._at, self._place, self.steps = 0, BEFORE, 0

    def kills(self, exporting: Exporting, at: int, place: str) -> bool:
        """Export in a process of its own that is to die at its step `at`; whether it came so far."""
        with self._lock:  # no step is taken before it is known whose it is
            self._at, self._place, self.steps = at, place, 0
            self._process = begin(exporting)
        code = self._process.wait(RUN_SECONDS_MAX)
        with self._lock:
            self._process = None
        return code == -signal.SIGKILL

    def which(self, _number: int, _word: bytes) -> str:
        """For the way to the database."""
        with self._lock:
            self.steps += 1
            if self._process is None or self.steps - 1 != self._at:
                return ""
            self._process.kill()
            return self._place

    def passes(self) -> bool:
        """For the way to a bucket."""
        return self.which(0, b"") != BEFORE


class World(NamedTuple):
    """An export to two buckets, each format to each, of which every step can be the last."""

    exporting: Exporting
    killer: Killer
    buckets: list[Bucket]

    def load(self, number: int) -> None:
        """Events of two hours, and a destination of which nothing is known: each step is taken again."""
        for half in range(2):
            hour = HOUR + timedelta(hours=2 * number + half)
            self.exporting.database.load(events(3, seed=2 * number + half), segment_no=2 * number + half, hour=hour)
        self.exporting.database.connection.execute("delete from destinations")

    def check(self, killed: int) -> None:
        """Each event stands once in each bucket and format; chains are sound; a crash leaves one orphan at most."""
        stored = in_order(self.exporting.database.expected)
        for bucket in self.buckets:
            objects = bucket.objects()
            check(objects)
            assert len(listed(objects)) == len(set(listed(objects)))
            for form in FORMATS:
                assert stored == in_order(delivered(objects, form))
            assert len(orphans(objects)) <= killed
            owner = msgspec.convert(bucket.destination() | bucket.owner, Destination)
            assert [] == verify(store(owner), lambda _done, _total: None).problems


@pytest.fixture
def world(exporting: Exporting, s3: S3) -> Iterator[World]:
    """Nothing is stored, nothing delivered."""
    killer = Killer()
    proxy = Proxy(exporting.appliance.dsn)
    buckets = [s3.new_bucket() for _ in range(2)]
    try:
        with wire(s3.endpoint, killer) as first, wire(s3.endpoint, killer) as second:
            exporting.appliance.settings["database"]["url"] = proxy.dsn
            endpoints = (first.endpoint, second.endpoint)
            exporting.deliver_to(
                *(
                    bucket.destination(f"bucket-{number}", endpoint=endpoint, formats=FORMATS)
                    for number, (bucket, endpoint) in enumerate(zip(buckets, endpoints, strict=True))
                )
            )
            proxy.cut(killer.which)
            yield World(exporting, killer, buckets)
    finally:
        proxy.close()


@pytest.mark.crash
def test_sample(world: World) -> None:
    """Killed at some steps, drawn anew for each run, an export goes on where it was."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    for number in range(SAMPLE):
        world.load(number)
        assert world.killer.kills(world.exporting, chance.randrange(STEPS_MIN), chance.choice([BEFORE, AFTER]))
    outcome = world.exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    world.check(killed=SAMPLE)


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("first", range(SLICES))
@pytest.mark.parametrize("place", [BEFORE, AFTER])
def test_every_step(world: World, place: str, first: int, record_property: Callable[[str, object], None]) -> None:
    """Killed at each of its steps in turn, an export brings each event once: to both buckets, in all three formats.

    The steps are cut into slices, each with a world of its own, so that they can run side by side.
    """
    killed = 0
    world.load(0)
    while world.killer.kills(world.exporting, at := first + SLICES * killed, place):
        outcome = world.exporting.run()
        assert ({}, 0) == (outcome.failed, outcome.pending), f"after step {at}"
        killed += 1
        world.load(killed)
    record_property(f"exports killed {place} a step, slice {first}", killed)

    assert killed > STEPS_MIN // SLICES
    world.check(killed=killed)

"""Slow senders and bombs: who holds connections or memory is ended in time, and honest senders notice nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import subprocess
import sys
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.appliance import ROOT, Appliance, eventually
from tests.collector.line import Line
from tests.collector.test_connection import post, stored
from tests.fix_appliance import MakeAppliance

SECONDS_MAX = 10 + 5  # and what a busy machine may be late
DEAF_SECONDS_MAX = 30  # first there is room for answers
DRIPPED = ("head", "body", "chunked", "late")
BOMB_BYTES, BLOCK_BYTES = 10**9, 10**7
BODY_BYTES_MAX = 2**20  # as it comes
HONEST_LINES = 20


class Load(NamedTuple):
    """What happens at the same time."""

    drips: int  # of each kind
    seconds: float
    bombs: int  # at the same time, one after another
    honest: int  # batches a second
    calm_seconds: float  # before, with honest senders only
    later_seconds_max: float  # than before, at the 99th percentile: a busy machine is slow already


SHORT = Load(drips=50, seconds=SECONDS_MAX, bombs=1, honest=20, calm_seconds=1, later_seconds_max=float("inf"))
LONG = Load(drips=400, seconds=DEAF_SECONDS_MAX, bombs=4, honest=100, calm_seconds=5, later_seconds_max=0.1)
CLOSED = dict.fromkeys((*DRIPPED, "silent"), SECONDS_MAX)


def bomb() -> bytes:
    """A gigabyte of zeros as gzip. Behind full flushes a stream repeats itself, so that one block is packed for all."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block, count, check = bytes(BLOCK_BYTES), BOMB_BYTES // BLOCK_BYTES, 0
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    for _ in range(count):
        check = zlib.crc32(block, check)
    trailer = check.to_bytes(4, "little") + BOMB_BYTES.to_bytes(4, "little")
    return gzip.compress(b"")[:10] + packed * count + packer.flush() + trailer


@contextmanager
def dripping(appliance: Appliance, load: Load, kinds: Iterable[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Senders that drip, in a process of their own."""
    address = urlsplit(appliance.url)
    arguments = [str(address.hostname), str(address.port), str(load.drips), str(load.seconds), *kinds]
    command = [sys.executable, "-m", "tests.collector.drip", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def connections(appliance: Appliance) -> int:
    """How many sockets the collectors have open."""
    pids = [pid for pid, title in appliance.processes().items() if "collector" in title]
    links = []
    for link in (link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):  # closed since it was listed
            links.append(link.readlink().name)
    return sum(link.startswith("socket:") for link in links)


async def honest(appliance: Appliance, load: Load, seconds: float) -> tuple[list[float], Counter[int]]:
    """Batches at a steady rate, and bombs beside them; returns what each batch took, and how bombs were answered."""
    body = bomb()
    assert len(body) < BODY_BYTES_MAX
    took: list[float] = []
    answered: Counter[int] = Counter()
    until = time.monotonic() + seconds

    async def send(number: int) -> None:
        line = Line(appliance.url, f"127.201.0.{1 + number}")
        pause = HONEST_LINES / load.honest
        due = time.monotonic() + pause * random.random()
        while due < until:
            await asyncio.sleep(due - time.monotonic())
            due += pause
            events = [{"eventType": "t", "eventId": str(uuid.uuid4()), "data": {"n": n}} for n in range(5)]
            batch = {"eventType": "batch", "siteId": "honest.example", "events": events}
            began = time.monotonic()
            answer = await line.ask(post(json.dumps(batch).encode()))
            took.append(time.monotonic() - began)
            assert answer
            assert (200, 5) == (answer.status, json.loads(answer.body)["accepted"])
            if random.random() < 0.2:
                line.close()
        line.close()

    async def throw(number: int) -> None:
        line = Line(appliance.url, f"127.202.0.{1 + number}")
        request = post(body, headers=["Content-Type: application/json", "Content-Encoding: gzip"])
        while time.monotonic() < until:
            answer = await line.ask(request)
            answered[answer.status if answer else 0] += 1
            await asyncio.sleep(0.5)
        line.close()

    await asyncio.gather(*(send(number) for number in range(HONEST_LINES)), *(throw(n) for n in range(load.bombs)))
    return took, answered


@pytest.mark.parametrize(
    ("load", "closed"),
    [
        pytest.param(SHORT, CLOSED, id="short"),
        pytest.param(LONG, CLOSED | {"deaf": DEAF_SECONDS_MAX}, id="long", marks=pytest.mark.long),
    ],
)
def test_slow_senders(
    make_appliance: MakeAppliance, record_property: Callable[[str, object], None], load: Load, closed: dict[str, float]
) -> None:
    """Connections that hold a request back are ended in time, while honest senders and bombs get their answers."""
    appliance = make_appliance()
    before = connections(appliance)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calm, _ = runner.run(honest(appliance, load._replace(bombs=0), load.calm_seconds))
    with dripping(appliance, load, closed) as process, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took, bombs = runner.run(honest(appliance, load, load.seconds / 2))
        said, _ = process.communicate()
    became: dict[str, list[tuple[float | None, int]]] = json.loads(said)
    latency, latency_before = (sorted(one)[int(len(one) * 0.99)] for one in (took, calm))
    slowest = {kind: max((s or load.seconds for s, _ in became[kind]), default=0) for kind in became}
    record_property(
        "honest p99", f"{latency * 1000:.0f} ms, before {latency_before * 1000:.0f} ms; bombs {dict(bombs)}"
    )
    record_property("slowest ends", {kind: f"{seconds:.1f} s" for kind, seconds in slowest.items()})

    assert [] == [(kind, one) for kind in closed for one in became[kind] if one[0] is None or one[0] > closed[kind]]
    # an answer that meets the next drop on its way may be lost
    told = [status for kind in DRIPPED for _, status in became[kind]]
    assert {408} == set(told) - {0}
    assert told.count(408) > 0.9 * len(told)
    assert {413} == set(bombs)
    assert len(took) > 0.5 * load.honest * load.seconds / 2
    assert 5 * len(calm + took) == stored(appliance, "honest.example")
    assert [] == appliance.rows("select site_id from sites where site_id <> 'honest.example'")
    assert [] == appliance.rows("select code from rejected_events")
    assert latency - latency_before < load.later_seconds_max
    eventually(lambda: connections(appliance) <= before)
    assert "Traceback" not in appliance.output()

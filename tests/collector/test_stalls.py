"""Stalls: bodies that cost most, sent by several at a time, and how long one request beside them waits for the loop.

It waits for other programs, too. So a stall is the time for which it waits and its collector computes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.appliance import Appliance
from tests.collector.hostile.case import Case, batch, event, fails, keeps, rejects
from tests.collector.hostile.encodings import GZIP, bomb
from tests.collector.hostile.json_text import named, nested
from tests.collector.shared import running
from tests.collector.test_connection import answers, connect, post, statuses
from tests.collector.test_hostile import exchange, request
from tests.processes import cpu_seconds

ATTACKERS = 6
STALL_SECONDS_MAX = 0.05
WAIT_SECONDS_MAX = 1.5  # other programs included; what is judged on the loop makes it wait for the sum of all
PAUSE_SECONDS = 0.002

# what the rules of privacy have to look at most closely, for each byte
PERSONAL = "tel 0171 23 45 67 8 +49 30 12 34 56 a@b.co 4111 1111 1111 1112 %31%32 "


def personal(size: int) -> str:
    """A text of so many characters that is full of it, as JSON."""
    return json.dumps((PERSONAL * (size // len(PERSONAL) + 1))[:size])


WORST: list[Case] = [
    keeps(28, "personal data, 31 kB", event(personal(31_000))),
    keeps(28, "personal data, small texts", event(json.dumps([f"tel 0171 {n} 45 67 8" for n in range(1_200)]))),
    Case(28, "personal data, 93 kB", batch(*[event(personal(31_000))] * 3), accepted=3),
    rejects(52, "1,000 bad events", batch(*[b"0"] * 1_000), *["event_invalid"] * 1_000),
    rejects(
        52, "1,000 bad times", batch(*[b'{"eventType":"t","timestamp":"x"}'] * 1_000), *["timestamp_invalid"] * 1_000
    ),
    rejects(46, "500 deep events", batch(*[event(nested(40))] * 500), *["event_too_deep"] * 500),
    rejects(47, "70,000 names", event(named(70_000)), "event_too_large"),
    fails(46, "depth of 100,000", event(nested(100_000)), 400, "json_too_deep"),
    fails(50, "500,000 events", batch(*[b"0"] * 500_000), 413, "batch_too_large"),
    rejects(47, "300,000 lists", event("[" + ",".join(["[]"] * 300_000) + "]"), "event_too_large"),
    keeps(36, "NULs", event('"' + r"\u0000" * 5_000 + '"')),
    keeps(40, "escapes", event('"' + r"\u00e4" * 5_000 + '"')),
    rejects(43, "digits", event("9" * 30_000), "event_invalid"),
    rejects(44, "numbers", event("[" + ",".join(["1e999"] * 5_000) + "]"), "event_invalid"),
    fails(28, "200 MB in 200 KB", b"", 413, "body_too_large", headers=GZIP, wrap=lambda _: bomb(b"", blocks=25)),
    fails(28, "1 GB in 1 MB", b"", 413, "body_too_large", headers=GZIP, wrap=lambda _: bomb(b"", blocks=119)),
    keeps(14, "headers", event(), headers=(b"User-Agent: " + PERSONAL.encode() * 100,)),
]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance of one collector: all connections have one loop."""
    with running(tmp_path_factory.mktemp("single"), postgres_template, {"server": {"processes": 1}}) as appliance:
        yield appliance


def chunks() -> bytes:
    """A body in as many chunks as bytes."""
    head = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"1\r\n \r\n" * 1_000_000 + b"0\r\n\r\n"


@pytest.mark.parametrize("case", WORST, ids=lambda case: case.name)
def test_stall(single: Appliance, case: Case, record_property: Callable[[str, object], None]) -> None:
    """A request beside six that cost most does not wait for them, and each of those gets its answer."""
    sent = [request(case, f"stall-{n}.example", "plain", "/collect") for n in range(ATTACKERS)]
    wait, stall, said = longest_wait(single, sent)

    record_property(f"longest stall beside {case.name}, ms", round(stall * 1_000))
    assert {case.status} == said
    assert stall < STALL_SECONDS_MAX
    assert wait < WAIT_SECONDS_MAX


def test_stall_by_chunks(single: Appliance, record_property: Callable[[str, object], None]) -> None:
    """Bodies of a million chunks are refused, and no request waits for them."""
    wait, stall, said = longest_wait(single, [chunks()] * ATTACKERS)

    record_property("longest stall beside a million chunks, ms", round(stall * 1_000))
    assert {400} == said
    assert stall < STALL_SECONDS_MAX
    assert wait < WAIT_SECONDS_MAX


def longest_wait(appliance: Appliance, sent: list[bytes]) -> tuple[float, float, set[int]]:
    """Send requests at once; how long one beside them waited and was kept waiting, and what they are answered."""
    collector = appliance.pid("evothesis: collector 0")
    with ThreadPoolExecutor(ATTACKERS) as executor, closing(connect(appliance)) as connection:
        attacks = [executor.submit(lambda data: exchange(appliance, data)[0][0][0], data) for data in sent]
        waits, stalls = [0.0], [0.0]
        while not all(one.done() for one in attacks):
            time.sleep(PAUSE_SECONDS)
            began, used_before = time.perf_counter(), cpu_seconds(collector)
            connection.sendall(post(b"{"))
            assert [400] == statuses(answers(connection, 1))
            waits.append(time.perf_counter() - began)
            stalls.append(min(waits[-1], cpu_seconds(collector) - used_before))
        return max(waits), max(stalls), {one.result() for one in attacks}

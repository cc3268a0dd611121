"""Log flood: requests that nobody can understand cost the disk nothing, and say nothing in the log."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.appliance import ROOT, Appliance
from tests.collector.hostile import encodings, framing, json_text, requests, wire
from tests.collector.test_hostile import LAST, request
from tests.fix_appliance import MakeAppliance

REQUESTS, REQUESTS_LONG = 2_000, 100_000
BYTES_MAX_LONG = 1_000_000
AT_ONCE = 50
BAD = 400  # and above: the status of a refusal
BYTES_EACH_MAX = 20_000  # larger ones are no other kind, and take longer to send


def malformed() -> list[bytes]:
    """Requests of every kind that is refused."""
    odd = framing.CASES + requests.CASES
    refused = [case.sent("flood.example") for case in odd if case.answers[-1][0] >= BAD]
    cases = [case for case in (*encodings.CASES, *json_text.CASES) if case.status >= BAD or case.rejected]
    refused += [request(case, "flood.example", door, "/collect") for case in cases for door in ("plain", "other")]
    return [data for data in refused if len(data) < BYTES_EACH_MAX]


async def send(appliance: Appliance, requests: list[bytes]) -> list[bytes]:
    """Send each on a connection of its own, with a last request behind it; returns what was answered."""
    address = urlsplit(appliance.url)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(data: bytes) -> bytes:
        async with room:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            said = b""
            with suppress(ConnectionError):
                writer.write(data + LAST)
                said = await reader.read()
            writer.close()
            return said

    return await asyncio.gather(*map(one, requests))


@pytest.mark.parametrize(
    "count", [REQUESTS, pytest.param(REQUESTS_LONG, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_log_flood(make_appliance: MakeAppliance, count: int, record_property: Callable[[str, object], None]) -> None:
    """100,000 malformed requests make the log grow by less than a megabyte, and nothing of them is in it."""
    appliance = make_appliance()
    kinds = malformed()
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    before = appliance.output_path.stat().st_size

    answers = asyncio.run(send(appliance, random.Random(seed).choices(kinds, k=count)))
    appliance.wait_until_drained()
    log = appliance.output_path.read_bytes()

    record_property(f"growth of the log by {count} malformed requests, bytes", len(log) - before)
    assert len(log) - before < BYTES_MAX_LONG * count / REQUESTS_LONG
    assert [] == [word for word in (b"Traceback", b"CANARY", b"flood.example", b"ERROR", b"WARNING") if word in log]
    assert [] == [byte for byte in log if byte < 32 and byte != 10]
    assert [] == [said for said in answers if b"HTTP/1.1 5" in said or b"Traceback" in said]
    assert appliance.health()["spool"]["accepting"]


def test_parser_in_python(tmp_path: Path) -> None:
    """Where aiohttp has no parser in C, `serve` does not start, and says why."""
    environment = os.environ | {"AIOHTTP_NO_EXTENSIONS": "1", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "evothesis", "serve"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert (1, "") == (ran.returncode, ran.stdout)
    assert "Error: aiohttp runs without its parser in C" in ran.stderr
    assert "Try: unset AIOHTTP_NO_EXTENSIONS" in ran.stderr
    assert [] == list(tmp_path.iterdir())


def test_answers_are_json(collector: Appliance) -> None:
    """Whatever is wrong with a request, its answer is the contract's: a code and a message, nothing of the input."""
    sent = [case.sent("flood.example") for case in framing.CASES if case.answers == wire.NOT_HTTP]
    # one that is still being sent when the connection is closed may not see its answer
    kinds = [data for data in sent if len(data) < BYTES_EACH_MAX]
    answers = asyncio.run(send(collector, kinds))

    bodies = [json.loads(said.partition(b"\r\n\r\n")[2]) for said in answers]
    assert [{"error"}] * len(kinds) == [set(body) for body in bodies]
    assert {("http_invalid", "this is not HTTP/1.1, or its head is too large")} == {
        (body["error"]["code"], body["error"]["message"]) for body in bodies
    }

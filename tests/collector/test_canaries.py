"""Canaries: what is personal or secret, sent through every field and header, is in no byte that is kept anywhere."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import psycopg
import pytest
import uvloop
from psycopg import sql

from tests.appliance import Appliance
from tests.collector.canaries import Canary, Search, aborted, canaries, requests
from tests.collector.client import ask
from tests.collector.line import Line
from tests.collector.test_connection import connect
from tests.fix_appliance import MakeAppliance

CONNECTIONS = 8
SEED = 2026


async def send(appliance: Appliance, whole: Iterator[bytes]) -> list[int]:
    """Send requests over several connections at once; returns what was answered."""
    statuses = []

    async def work() -> None:
        line = Line(appliance.url)
        for request in whole:
            answer = await line.ask(request)
            statuses.append(answer.status if answer else 0)
        line.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return statuses


def leave(appliance: Appliance, data: bytes) -> None:
    """Say something piece by piece, and be gone before its end."""
    with closing(connect(appliance)) as connection, suppress(ConnectionError):  # it was refused already
        for begin in range(0, len(data), 100):
            connection.sendall(data[begin : begin + 100])
            time.sleep(0.001)


def files(folder: Path) -> bytes:
    """Every byte below a folder; Parquet also as rows of text."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    frames = [pl.read_parquet(path) for path in paths if path.suffix == ".parquet"]
    rows = [str(row) for frame in frames for row in frame.iter_rows()]
    return b"\n".join([*(path.read_bytes() for path in paths), "\n".join(rows).encode()])


def tables(appliance: Appliance) -> bytes:
    """Every row of every table, as COPY gives it."""
    found = bytearray()
    with psycopg.connect(appliance.dsn) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (name,) in names:
            query = sql.SQL("copy (select * from {}) to stdout").format(sql.Identifier(name))
            with connection.cursor().copy(query) as rows:
                found += b"".join(bytes(row) for row in rows)
    return bytes(found)


def told(appliance: Appliance) -> bytes:
    """What the two listeners say of themselves and of the events."""
    urls = [(appliance.url, "/health"), (appliance.url, "/metrics")]
    urls += [
        (appliance.admin_url, path) for path in ("/health", "/metrics", "/events/count", "/events/recent?limit=1000")
    ]
    return b"\n".join(ask(url, "GET", path, headers=appliance.admin_headers).body for url, path in urls)


@pytest.mark.parametrize("ip", ["truncate", pytest.param("hash", marks=pytest.mark.long)])
def test_nothing_personal_is_kept(make_appliance: MakeAppliance, ip: str) -> None:
    """No address, card or token is in a file of spool, PostgreSQL or bucket, in a table, in an answer or in the log."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    marker = f"marker{secrets.token_hex(8)}"
    sought = canaries(random.Random(seed))
    appliance = make_appliance({"server": {"proxies": ["127.0.0.1"]}, "privacy": {"ip": ip}})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        whole = (request for canary in sought for request in requests(canary, marker))
        statuses = runner.run(send(appliance, whole))
    for canary in sought:
        for data in aborted(canary):
            leave(appliance, data)
    places = {"spool": files(appliance.spool)}
    appliance.wait_until_drained()
    appliance.export()
    places |= {"tables": tables(appliance), "answers": told(appliance)}
    appliance.stop()
    places |= {"kept segments": files(appliance.spool), "bucket": files(appliance.bucket)}
    places |= {"cluster": files(appliance.folder / "var/postgres"), "log": appliance.output_path.read_bytes()}
    search = Search(sought)

    assert {name: {} for name in places} == {name: search.find(data) for name, data in places.items()}
    assert {name: name != "log" for name in places} == {name: marker.encode() in data for name, data in places.items()}
    assert statuses.count(200) > len(statuses) / 2
    assert 0 == statuses.count(0) + statuses.count(503)


CANARIES = canaries(random.Random(SEED))


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_search_finds(canary: Canary) -> None:
    """A canary is found however it is written."""
    texts = [*canary.spellings(), canary.text.lower(), canary.needle, canary.text.replace(".", "").replace(":", "")]
    written = [text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    written += [
        canary.escaped.encode(),
        json.dumps(json.dumps(canary.text)).encode(),
        canary.packed or canary.text.encode(),
    ]
    noise = random.Random(SEED).randbytes(100)
    search = Search(CANARIES)

    assert [] == [text for text in written if canary.name not in search.find(noise + text + noise)]


def test_search_finds_nothing_else() -> None:
    """What is truncated, redacted or another's is not found."""
    others = canaries(random.Random(SEED + 1))
    ipv4, ipv6 = (next(canary.text for canary in CANARIES if canary.name == name) for name in ("IPv4", "IPv6"))
    kept = [ipv4.rpartition(".")[0] + ".0", ":".join(ipv6.split(":")[:3]) + "::", "[redacted]"]
    texts = [spelled for other in others for spelled in other.spellings()] + kept

    assert {} == Search(CANARIES).find("\n".join(texts).encode())


def test_search_passes_truncated() -> None:
    """A truncated address is not found, whatever the length of the JSON behind it."""
    ipv4 = next(canary for canary in CANARIES if canary.name == "IPv4")
    stored = ipv4.packed[:-1] + b"\0" + ipv4.packed[-1:] + b"\x02\0\0\x03\0\0\x20"

    assert {} == Search(CANARIES).find(stored)

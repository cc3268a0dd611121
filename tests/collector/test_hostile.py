"""The corpus of hostile input, through a real socket: what is answered, and what the database holds afterwards.

The numbers of its rows stand in every case; `hostile/` has a file for each of its sections.
"""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.appliance import ROOT, Appliance
from tests.collector.hostile import clients, encodings, fields, framing, json_text, requests
from tests.collector.hostile.case import Case
from tests.collector.hostile.wire import Said, Wire

AT_ONCE = 8
ANSWER_SECONDS_MAX = 60  # six of the worst bodies cost a collector as many seconds, alone on its machine
CASES_LEAST = 300
ROWS = set(range(1, 74))
SLOW_ROWS = {3, 4, 5}  # in test_deadlines
SIZE_ROW = 2  # in test_collect and test_decode

LAST = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
STORED = """
select site_id, event_type, event_id::text as event_id, session_id, path, timestamp, host(ip_address) as ip_address,
       raw_event_data
  from events_log where site_id like %s order by writer, segment_no, idx
"""
REJECTED = "select site_id, code from rejected_events where site_id like %s order by writer, segment_no, idx"

T = TypeVar("T")


def at_once(step: Callable[[T], Any], items: Iterable[T]) -> list[Any]:
    """Several at a time, each on a connection of its own."""
    with ThreadPoolExecutor(AT_ONCE) as executor:
        return list(executor.map(step, items))


def exchange(appliance: Appliance, data: bytes) -> list[tuple[Said, bytes]]:
    """Send bytes on a connection, then a last request; every answer, also with its bytes."""
    address = urlsplit(appliance.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=ANSWER_SECONDS_MAX)

    def send() -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it was refused already
            connection.sendall(data + LAST)

    with closing(connection), ThreadPoolExecutor(1) as sender, connection.makefile("rb") as stream:
        sender.submit(send)
        return list(answers(stream))


def answers(stream: BinaryIO) -> Iterable[tuple[Said, bytes]]:
    """The answers until the connection ends: how does not matter, for what was refused is not read."""
    with suppress(ConnectionResetError):
        while status := stream.readline():
            head, length = status, 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                head += line
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            body = stream.read(length)
            code = json.loads(body)["error"]["code"] if body.startswith(b'{"error"') else ""
            yield (int(status.split()[1]), code), head + b"\r\n" + body


def request(case: Case, site: str, door: str, path: str) -> bytes:
    """A case's body as a request: one by the book, or one in chunks, which is aiohttp's."""
    body = case.wrap(case.sent(site))
    lines = [f"POST {path} HTTP/1.1".encode(), b"Host: x", b"Content-Type: " + case.content_type]
    lines += [line.replace(b"SITE", site.encode()) for line in case.headers]
    if not any(line.startswith(b"Referer:") for line in lines):
        lines.append(f"Referer: https://{site}/".encode())
    if door == "plain":
        lines.append(b"Content-Length: %d" % len(body))
    else:
        lines.append(b"Transfer-Encoding: chunked")
        middle = len(body) // 2
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:middle], body[middle:]) if part)
        body += b"0\r\n\r\n"
    return b"\r\n".join([*lines, b"", b""]) + body


def run(appliance: Appliance, cases: Sequence[Case], section: str) -> None:
    """Send all cases through both doors; then compare every answer, and everything that is stored."""
    path = str(appliance.settings["server"].get("collect_path", "/collect"))
    sent = {
        f"{section}-{n}-{door}.example": (case, door) for n, case in enumerate(cases) for door in ("plain", "other")
    }

    def ask(site: str) -> dict[str, Any]:
        case, door = sent[site]
        said, data = exchange(appliance, request(case, site, door, path))[0]
        check_form(data)
        answer = json.loads(data.partition(b"\r\n\r\n")[2])
        refused = [(one["index"], one["code"]) for one in answer.get("rejected", [])]
        return {"said": said, "accepted": answer.get("accepted", 0), "rejected": refused}

    answered = at_once(ask, sent)
    appliance.wait_until_drained()
    rows = appliance.rows(STORED, [f"{section}-%"])
    kept: dict[str, list[str]] = {}
    for row in appliance.rows(REJECTED, [f"{section}-%"]):
        kept.setdefault(row["site_id"], []).append(row["code"])
    counts = Counter(row["site_id"] for row in rows)
    first = {row["site_id"]: row for row in reversed(rows)}

    expected, found = {}, {}
    for (site, (case, door)), answer in zip(sent.items(), answered, strict=True):
        columns = case.stored(site)
        key = f"{case.id}, {door}"
        assert key not in expected
        expected[key] = {
            "said": (case.status, case.code),
            "accepted": case.accepted,
            "rejected": list(case.rejected),
            "stored": case.accepted,
            "kept": [code for _, code in case.rejected if not case.is_elsewhere],
            "columns": columns,
        }
        found[key] = answer | {
            "stored": counts[site],
            "kept": kept.get(site, []),
            "columns": {name: first.get(site, {}).get(name) for name in columns},
        }
    wrong = {key: (expected[key], found[key]) for key in expected if expected[key] != found[key]}
    assert {} == wrong
    assert set(counts) <= set(sent)


def check_form(answer: bytes) -> None:
    """An answer names no product, shows nothing of the inside, and cannot be taken for something else."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nServer:" not in head, answer
    for word in (b"aiohttp", b"Traceback", b"Python", b"CANARY"):
        assert word not in answer, answer
    if b" 100 " not in head.split(b"\r\n")[0]:
        assert b"\r\nX-Content-Type-Options: nosniff" in head, answer
    if body.startswith(b"{"):
        assert b"\r\nContent-Type: application/json" in head, answer


@pytest.mark.parametrize(
    "section", [encodings, json_text, fields], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_bodies(collector: Appliance, section: Any) -> None:  # noqa: ANN401 - a module
    """Bodies and their encodings: both doors answer as the table says, and that is stored which was accepted."""
    run(collector, section.CASES, section.__name__.rpartition(".")[2].replace("_", ""))


def test_direct_clients(collector: Appliance) -> None:
    """Nobody but a proxy of ours is believed in what it says of a client's address."""
    run(collector, clients.DIRECT, "direct")


def test_clients(proxied: Appliance) -> None:
    """What proxies say of a client's address is stored as an address, or not at all."""
    run(proxied, clients.CASES, "clients")


def test_wire(collector: Appliance) -> None:
    """Bytes that are no request, or an odd one, get the answers of the table; nothing of them is repeated or stored."""
    sent = {f"wire-{number}.example": case for number, case in enumerate(framing.CASES + requests.CASES)}

    def ask(site: str) -> list[Said]:
        found = exchange(collector, sent[site].sent(site))
        for _, data in found:
            check_form(data)
        return [said for said, _ in found]

    answered = dict(zip(sent, at_once(ask, sent), strict=True))
    collector.wait_until_drained()
    counts = Counter(row["site_id"] for row in collector.rows(STORED, ["wire-%"]))
    kept = collector.rows(REJECTED, ["wire-%"])

    expected = {case.id: (case.answers + [(404, "not_found")] * case.is_open, case.stored) for case in sent.values()}
    found = {case.id: (answered[site], counts[site]) for site, case in sent.items()}
    assert len(expected) == len(sent)
    assert {} == {name: (expected[name], found[name]) for name in expected if expected[name] != found[name]}
    assert [] == kept
    assert set(counts) <= set(sent)


def test_complete() -> None:
    """Every row of the corpus has its cases, here or where it is said; every code is in the documents."""
    sections: list[Sequence[Case | Wire]] = [
        framing.CASES,
        requests.CASES,
        encodings.CASES,
        json_text.CASES,
        fields.CASES,
    ]
    cases = [case for section in [*sections, clients.DIRECT, clients.CASES] for case in section]

    assert ROWS == {case.row for case in cases} | SLOW_ROWS | {SIZE_ROW}
    assert len(cases) >= CASES_LEAST
    codes = {case.code for case in cases if isinstance(case, Case)} | {
        code for case in cases for code in refusals(case)
    }
    documented = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs/collecting.md").read_text(encoding="utf-8")))
    assert set() == codes - documented - {""}


def refusals(case: Case | Wire) -> list[str]:
    """The codes that stand in a case's answers."""
    return [code for _, code in (case.rejected if isinstance(case, Case) else case.answers)]

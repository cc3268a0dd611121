"""Connection: requests in pieces, in pipelines and in disguise; the door for plain ones and aiohttp's say the same."""

from __future__ import annotations

import gzip
import json
import random
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import islice, pairwise
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from tests.appliance import Appliance

Answer = tuple[int, dict[bytes, bytes], bytes]

ACCEPTED = b'{"accepted":1,"duplicate":0,"rejected":[]}'
READ_SECONDS_MAX = 15


def connect(appliance: Appliance) -> socket.socket:
    """A connection to the public listener."""
    parts = urlsplit(appliance.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=READ_SECONDS_MAX)


def post(body: bytes, *, target: str = "/collect", headers: Iterable[str] = ("Content-Type: text/plain",)) -> bytes:
    """A POST by the book."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def event(site: str, **members: object) -> bytes:
    """An event with an id of its own, as JSON."""
    return json.dumps({"eventType": "t", "eventId": str(uuid.uuid4()), "siteId": site, **members}).encode()


def answers(connection: socket.socket, count: int) -> list[Answer]:
    """The next answers, in the order in which they come; fewer when the connection ends."""
    with connection.makefile("rb") as stream:
        return list(islice(parse(stream), count))


def parse(stream: BinaryIO) -> Iterator[Answer]:
    """The answers in a stream, until it ends, by a reset too; those to HEAD must come last."""
    with suppress(ConnectionResetError):
        while status := stream.readline():
            headers = {}
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                headers[name.lower()] = value.strip()
            yield int(status.split()[1]), headers, stream.read(int(headers.get(b"content-length", 0)))


def ask(appliance: Appliance, *pieces: bytes, count: int = 1) -> list[Answer]:
    """Send pieces on one connection, each by itself, and read the answers."""
    with closing(connect(appliance)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(BrokenPipeError, ConnectionResetError):  # it was refused already
            for piece in pieces:
                connection.sendall(piece)
                if len(pieces) > 1:
                    time.sleep(0.001)
        return answers(connection, count)


def statuses(found: list[Answer]) -> list[int]:
    """What was answered."""
    return [status for status, _, _ in found]


def stored(appliance: Appliance, site: str) -> int:
    """How many events of a site are in the table."""
    appliance.wait_until_drained()
    rows = appliance.rows("select count(*) as n from events_log where site_id = %s", (site,))
    return int(rows[0]["n"])


TWICE = json.dumps({"eventType": "t", "data": {"a": 1}, "siteId": "both.example"}).encode()
BODIES = {
    "accepted": (TWICE, ()),
    "rejected": (b'{"eventType":"batch","siteId":"both.example","events":[{"eventType":"t"},{"timestamp":1},3]}', ()),
    "no JSON": (b'{"eventType":', ()),
    "empty": (b"", ()),
    "gzip": (gzip.compress(TWICE), ("Content-Encoding: gzip",)),
    "bad gzip": (gzip.compress(TWICE)[:-5], ("Content-Encoding: gzip",)),
    "encoding": (TWICE, ("Content-Encoding: br",)),
    "bomb": (gzip.compress(b" " * 2**21), ("Content-Encoding: gzip",)),
    "refuses": (TWICE, ("DNT: 1",)),
}


@pytest.mark.parametrize("name", BODIES)
def test_two_doors(collector: Appliance, name: str) -> None:
    """A request gets the same answer whether it is plain or has to go through aiohttp."""
    body, headers = BODIES[name]
    headers = ("Content-Type: application/json", *headers)

    plain, strange = (ask(collector, post(body, target=t, headers=headers))[0] for t in ("/collect", "/collect?x"))

    for _, said, _ in (plain, strange):
        said.pop(b"date")
        said.pop(b"connection", None)
    assert strange == plain


def test_two_doors_on_type(collector: Appliance) -> None:
    """Neither door takes a type that no browser sends events in."""
    request = [post(TWICE, target=target, headers=["Content-Type: text/html"]) for target in ("/collect", "/collect?x")]

    assert [415, 415] == [ask(collector, part)[0][0] for part in request]


def test_split_anywhere(collector: Appliance, site: str) -> None:
    """A request in two pieces, wherever they part, is answered once and stored once."""
    request = post(event(site))

    found = [ask(collector, request[:place], request[place:]) for place in range(1, len(request))]

    assert [[200]] * (len(request) - 1) == [statuses(one) for one in found]
    assert 1 == stored(collector, site)


def test_random_pieces(collector: Appliance, site: str) -> None:
    """A large batch in random pieces is answered once, and all of it is stored."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    events = ",".join(event(site, data={"text": "x" * 900}).decode() for _ in range(200))
    request = post(f'{{"eventType":"batch","events":[{events}]}}'.encode())
    places = sorted({0, len(request), *(chance.randrange(len(request)) for _ in range(60))})

    found = ask(collector, *(request[begin:end] for begin, end in pairwise(places)))

    assert [b'{"accepted":200,"duplicate":0,"rejected":[]}'] == [body for _, _, body in found]
    assert 200 == stored(collector, site)


@pytest.mark.parametrize("is_one_write", [True, False])
def test_pipeline(collector: Appliance, site: str, *, is_one_write: bool) -> None:
    """Requests that wait for no answer, plain ones and others, are answered in their order."""
    health = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    unknown = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n"
    requests = [post(event(site)), health, post(event(site)), unknown, post(b"{"), post(event(site))]
    if is_one_write:
        requests = [b"".join(requests)]

    assert [200, 200, 200, 404, 400, 200] == statuses(ask(collector, *requests, count=6))
    assert 3 == stored(collector, site)


def test_kept_alive(collector: Appliance, site: str) -> None:
    """A connection goes on, whoever answers its requests."""
    with closing(connect(collector)) as connection:
        for number in range(200):
            connection.sendall(post(event(site), target="/collect" if number % 3 else "/collect?x"))
            assert [(200, ACCEPTED)] == [(status, body) for status, _, body in answers(connection, 1)]

    assert 200 == stored(collector, site)


def test_request_in_a_head(collector: Appliance, site: str) -> None:
    """What stands in another request's head is no request, however it is cut."""
    begin = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-First: "

    found = ask(collector, begin, post(event(site)), count=9)

    assert 0 == stored(collector, site)
    assert 200 not in statuses(found[1:])


def test_request_in_a_body(collector: Appliance, site: str) -> None:
    """What stands in a body is no request."""
    found = ask(collector, post(post(event(site))), count=1)

    assert [400] == statuses(found)
    assert 0 == stored(collector, site)


def test_asks_to_close(collector: Appliance, site: str) -> None:
    """A sender that wants the connection to end is answered first."""
    request = post(event(site), headers=["Connection: close", "Content-Type: text/plain"])

    assert [200] == statuses(ask(collector, request, count=2))


def test_gone_in_the_middle(collector: Appliance, site: str) -> None:
    """A sender that leaves stores nothing of what it has not said to the end; nobody else notices."""
    request = post(event(site))
    for place in range(0, len(request), 7):
        with closing(connect(collector)) as connection:
            connection.sendall(request[:place])

    assert [200] == statuses(ask(collector, post(event(site))))
    assert 1 == stored(collector, site)
    assert "Traceback" not in collector.output()

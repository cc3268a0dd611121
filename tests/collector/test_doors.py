"""Doors: requests take turns between the one for plain ones and aiohttp's, and both say the same."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing

import pytest

from tests.appliance import Appliance
from tests.collector.test_connection import Answer, answers, ask, connect, event, parse, post, statuses, stored

pytestmark = pytest.mark.usefixtures("unharmed")

HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
TYPE = "Content-Type: text/plain"


def chunked(body: bytes, *, coding: bytes = b"Transfer-Encoding: chunked", target: bytes = b"/collect") -> bytes:
    """A POST in one chunk."""
    head = HEAD.replace(b"/collect", target)
    return b"%b%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, coding, len(body), body)


def last() -> bytes:
    """A request after which the connection ends."""
    return b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_every_byte_alone(collector: Appliance, site: str) -> None:
    """Requests that come byte by byte are answered once each, whoever answers them."""
    stream = post(event(site)) + chunked(event(site)) + post(event(site)) + last()

    assert [200, 200, 200, 404] == statuses(ask(collector, *(stream[n : n + 1] for n in range(len(stream))), count=9))
    assert 3 == stored(collector, site)


@pytest.mark.parametrize("is_one_write", [True, False])
def test_pipeline_of_methods(collector: Appliance, site: str, *, is_one_write: bool) -> None:
    """Each answer of a pipeline stands at the place of its request."""

    def batch(size: int) -> bytes:
        return b'{"eventType":"batch","events":[%b]}' % b",".join(event(site) for _ in range(size))

    requests = [
        *(post(batch(size)) for size in (1, 2, 3)),
        b"GET /pixel.gif?site=p.example HTTP/1.1\r\nHost: x\r\n\r\n",
        post(batch(4)),
        b"OPTIONS /collect HTTP/1.1\r\nHost: x\r\n\r\n",
        post(batch(5)),
        b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ]
    found = ask(collector, *([b"".join(requests)] if is_one_write else requests), count=len(requests) + 1)

    assert [200, 200, 200, 200, 200, 204, 200, 200] == statuses(found)
    accepted = [body.partition(b",")[0] for status, _, body in found if body.startswith(b"{")]
    assert [b'{"accepted":%d' % size for size in (1, 2, 3, 4, 5)] == accepted
    assert b"image/gif" == found[3][1][b"content-type"]
    assert 15 == stored(collector, site)


def test_thousand_requests(collector: Appliance, site: str) -> None:
    """A connection on which the doors take turns a thousand times stays open, and every answer is right."""
    asked = [b"OPTIONS /collect HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"]
    found = []
    with closing(connect(collector)) as connection:
        for number in range(1_000):
            connection.sendall(asked[number // 2 % 2] if number % 2 else post(event(site)))
            found += answers(connection, 1)

    assert [200, 204, 200, 404] * 250 == statuses(found)
    assert 500 == stored(collector, site)


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["plain", "chunked"])
def test_gone_at_every_byte(collector: Appliance, site: str, *, is_chunked: bool, is_reset: bool) -> None:
    """A sender that is gone after any of a request's bytes has stored nothing, or, after the last one, the event."""
    whole = chunked(event(site)) if is_chunked else post(event(site))
    for size in range(len(whole)):
        leave(collector, whole[:size], is_reset=is_reset)
    partial = stored(collector, site)
    leave(collector, whole, is_reset=is_reset)
    ask(collector, post(event("other.example")))

    assert 0 == partial
    assert stored(collector, site) in (0, 1)


def leave(appliance: Appliance, data: bytes, *, is_reset: bool) -> None:
    """Send something and be gone."""
    with closing(connect(appliance)) as connection:
        if is_reset:  # as a machine that forgot the connection: no FIN but a RST
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(data)


def test_gone_before_it_was_greeted(collector: Appliance) -> None:
    """Senders that are gone before anybody looks at them leave no trace."""
    for _ in range(300):
        leave(collector, b"", is_reset=True)

    assert [404] == statuses(ask(collector, last()))


def said(answer: Answer) -> tuple[int, dict[bytes, bytes], bytes]:
    """An answer, without its time."""
    status, headers, body = answer
    return status, {name: value for name, value in headers.items() if name != b"date"}, body


def test_two_doors_on_large_bodies(collector: Appliance) -> None:
    """A body that is too large is refused in the same words however it is framed."""
    body = b"x" * (2**20 + 1)
    found = [ask(collector, request)[0] for request in (post(body), post(body, target="/collect?x"), chunked(body))]

    assert 413 == found[0][0]
    assert 1 == len({(status, body) for status, _, body in found})


def test_two_doors_on_blanks(collector: Appliance, site: str) -> None:
    """A blank behind a header's value hides nothing from either door: who refuses is not stored."""
    for request in (post(event(site), headers=[TYPE, "DNT: 1 \t"], target=t) for t in ("/collect", "/collect?x")):
        assert [b'{"accepted":0,"duplicate":0,"rejected":[],"withheld":1}'] == [
            one[2] for one in ask(collector, request)
        ]

    assert 0 == stored(collector, site)


def test_two_doors_on_limits(proxied: Appliance) -> None:
    """Who sends too much is told so in the same words by both doors, and when to come back."""
    refused = []
    for target, address in (("/in/c", "203.0.113.1"), ("/in/c?x", "203.0.113.2")):
        request = post(b"{}", target=target, headers=[TYPE, f"X-Forwarded-For: {address}"])
        with closing(connect(proxied)) as connection:
            connection.sendall(request * 30)
            with connection.makefile("rb") as stream:
                refused.append(next(said(one) for one in parse(stream) if one[0] == 429))

    assert b"1" == refused[0][1][b"retry-after"]
    assert refused[0] == refused[1]


def test_two_doors_on_addresses(proxied: Appliance, site: str) -> None:
    """Both doors believe the same of X-Forwarded-For, whether it comes in one line or in two."""
    lines = (
        ["X-Forwarded-For: 198.51.100.9, 203.0.113.7, 10.1.2.3"],
        ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: fd00::1"],
    )
    for target in ("/in/c", "/in/c?x"):
        for line in lines:
            assert [200] == statuses(ask(proxied, post(event(site), target=target, headers=[TYPE, *line])))
            time.sleep(0.2)  # the rate that one address may have
    proxied.wait_until_drained()

    rows = proxied.rows("select host(ip_address) as address from events_log where site_id = %s", [site])
    assert ["203.0.113.7"] * 4 == [row["address"] for row in rows]

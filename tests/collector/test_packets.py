"""Streams of requests, half of them broken: cut into packets in whatever way, they get the same answers."""

from __future__ import annotations

import asyncio
import io
import random
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import pairwise
from urllib.parse import urlsplit

import pytest

from tests.appliance import Appliance
from tests.collector.generated import NASTY
from tests.collector.line import END
from tests.collector.test_connection import Answer, event, parse, post, statuses, stored
from tests.collector.test_doors import chunked

STREAMS, STREAMS_LONG = 150, 2_000  # of each kind; each is sent twice
AT_ONCE = 24
ANSWER_SECONDS_MAX = 20
QUIET_SECONDS = 0.03  # after which what ends a stream is sent; mostly later than the last answer


class Sound:
    """Makes requests that are by the book, with events of one site.

    None is refused before its body was read: behind such a refusal the connection ends when the body is not there yet.
    """

    def __init__(self, site: str, chance: random.Random) -> None:
        """`chance` decides which ones."""
        self._chance = chance
        self._kinds: list[tuple[Callable[[], bytes], int]] = [
            (lambda: post(event(site)), 200),
            (lambda: post(event(site), target="/collect?x"), 200),
            (lambda: chunked(event(site)), 200),
            (lambda: b"\r\n" + post(event(site)), 200),
            (lambda: post(b"{"), 400),
            (lambda: b"OPTIONS /collect HTTP/1.1\r\nHost: x\r\n\r\n", 204),
            (lambda: b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Empty:\r\n\r\n", 404),
        ]

    def stream(self) -> tuple[bytes, list[int]]:
        """One to four requests, and what is answered."""
        kinds = self._chance.choices(self._kinds, k=self._chance.randint(1, 4))
        return b"".join(make() for make, _ in kinds), [status for _, status in kinds]

    def broken(self) -> bytes:
        """The same with a few bytes changed, repeated or left out."""
        data, _ = self.stream()
        for _ in range(self._chance.randint(1, 3)):
            begin = self._chance.randrange(len(data))
            end = begin + self._chance.choice((0, 1, 1, 2, 8, 40))
            changed = data[:begin] + self._chance.choice((b"", *NASTY, data[begin:end] * 2)) + data[end:]
            data = changed or data  # of a short one all may have been left out
        return data

    def pieces(self, data: bytes) -> list[bytes]:
        """It, cut at up to eight places."""
        places = (self._chance.randrange(len(data)) for _ in range(self._chance.randint(1, 8)))
        return [data[begin:end] for begin, end in pairwise(sorted({0, len(data), *places}))]


async def ask(appliance: Appliance, parts: list[bytes], count: int | None = None) -> list[Answer]:
    """Send parts, each by itself; when `count` answers have come, or none comes any more, end the stream."""
    loop, address = asyncio.get_running_loop(), urlsplit(appliance.url)
    received, enough = bytearray(), asyncio.Event()

    async def receive() -> None:
        with suppress(ConnectionError):
            while data := await loop.sock_recv(connection, 2**16):
                received.extend(data)
                if received.count(b"HTTP/1.1 ") == count:
                    enough.set()

    with closing(socket.socket()) as connection, suppress(ConnectionError):
        connection.setblocking(False)  # noqa: FBT003 - its only argument
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, (address.hostname, address.port))
        receiving = asyncio.create_task(receive())
        with suppress(ConnectionError):  # they were refused already
            for part in parts:
                await loop.sock_sendall(connection, part)
                await asyncio.sleep(0.001)
            with suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), QUIET_SECONDS if count is None else ANSWER_SECONDS_MAX)
            await loop.sock_sendall(connection, END)
        await receiving
    return list(parse(io.BytesIO(received)))


def understood(found: list[Answer]) -> list[tuple[int, bytes]]:
    """The answers to what was a request: all but the refusal of nonsense at the end."""
    is_nonsense = found and b"http_invalid" in found[-1][2]
    return [(status, body) for status, _, body in (found[:-1] if is_nonsense else found)]


def agree(whole: list[Answer], cut: list[Answer]) -> bool:
    """Whether one is the beginning of the other: what came in one packet with nonsense is refused with it."""
    shorter, longer = sorted((understood(whole), understood(cut)), key=len)
    return longer[: len(shorter)] == shorter


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    "streams", [STREAMS, pytest.param(STREAMS_LONG, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("is_sound", [True, False], ids=["sound", "broken"])
def test_packets_mean_nothing(collector: Appliance, site: str, streams: int, *, is_sound: bool) -> None:
    """Streams of requests get the same answers in one packet as in many, and never a 5xx."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    sound = Sound(site, random.Random(seed))
    made = [sound.stream() if is_sound else (sound.broken(), None) for _ in range(streams)]
    cuts = [sound.pieces(data) for data, _ in made]

    async def both() -> list[tuple[list[Answer], list[Answer]]]:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> tuple[list[Answer], list[Answer]]:
            data, expected = made[number]
            async with room:
                count = len(expected) if expected else None
                return await ask(collector, [data], count), await ask(collector, cuts[number], count)

        return await asyncio.gather(*(one(number) for number in range(streams)))

    found = asyncio.run(both())

    assert [] == [(data, *pair) for (data, _), pair in zip(made, found, strict=True) if not agree(*pair)]
    assert [] == [
        data for (data, _), pair in zip(made, found, strict=True) if max(map(max, map(statuses, pair))) >= 500
    ]
    if is_sound:
        assert [[expected, expected] for _, expected in made] == [
            [[status for status, _ in understood(one)] for one in pair] for pair in found
        ]
        events = sum(expected.count(200) for _, expected in made if expected)
        assert events == stored(collector, site)

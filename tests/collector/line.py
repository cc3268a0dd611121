"""Line: requests as bytes in, answers out; quick enough for a hundred thousand of them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

ANSWER_SECONDS_MAX = 30
QUIET_SECONDS = 1.0  # after which nobody answers bytes that make no sense any more
END = bytes(2**17)  # nonsense where a request may begin; more than what a changed length may swallow


class Answer(NamedTuple):
    """What came back."""

    status: int
    head: bytes  # in lower case
    body: bytes


class Line:
    """A connection that is opened again when it has ended; `local` is the address that it comes from."""

    def __init__(self, url: str, local: str | None = None) -> None:
        """It is not open yet."""
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._local = (local, 0) if local else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Answer | None:
        """Send one request; None when the connection ends before it was answered."""
        reader, writer = await self._open()
        try:
            writer.write(request)
            answer = await asyncio.wait_for(_answer(reader), ANSWER_SECONDS_MAX)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            return None
        if b"connection: close" in answer.head or answer.head.startswith(b"http/1.0"):
            self.close()
        return answer

    async def ask_anything(self, data: bytes) -> list[Answer]:
        """What is answered, on a connection of its own, to bytes that may be any number of requests."""
        self.close()
        reader, writer = await self._open()
        found = []
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            writer.write(data + END)
            while True:
                found.append(await asyncio.wait_for(_answer(reader), QUIET_SECONDS))
        self.close()
        return [answer for answer in found if answer.status != 100]

    def close(self) -> None:
        """End it."""
        if self._streams:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, local_addr=self._local)
        return self._streams


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"\ncontent-length: (\d+)", head)
    return Answer(int(head.split()[1]), head, await reader.readexactly(int(length[1]) if length else 0))

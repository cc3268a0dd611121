"""Sender: requests in, answers into the journal; the same bytes until somebody answers, as a browser does."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from pathlib import Path
from typing import IO, Any

import aiohttp

from tests.agents import BROWSER
from tests.oracle.events import BATCH_EVENTS, Events, Request

ANSWER_SECONDS_MAX = 10
RETRY_PAUSE_SECONDS_MIN, RETRY_PAUSE_SECONDS_MAX = 0.05, 1.0
RETRY_SECONDS_MAX = 60  # then an event stays unknown
RESEND_SECONDS_MAX = 1.0  # how long after its answer a request may be sent again
TRY_AGAIN = {408, 429}


class Sender:
    """Connections that take one request after the other from an endless row."""

    def __init__(
        self, url: str, events: Events, journal: Path, *, events_per_second: float, resend_share: float
    ) -> None:
        """`events_per_second` of 0 is as fast as the answers come."""
        self._url = url
        self._events = events
        self._journal: IO[bytes] = journal.open("ab", buffering=0)
        self._pause_seconds = BATCH_EVENTS / events_per_second if events_per_second else 0.0
        self._resend_share = resend_share
        self._chance = random.Random(events.seed)
        self._again: deque[tuple[float, Request]] = deque()
        self._budget = 0.0  # new events that may still be made
        self._due_at = 0.0
        self._busy = 0
        self._wake = asyncio.Condition()
        self.counts: Counter[str] = Counter()

    async def run(self, connections: int) -> None:
        """Send over that many connections, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._work())

    async def allow(self, events: float) -> None:
        """Let that many new events be sent; infinity is no limit, 0 ends the sending."""
        async with self._wake:
            self._budget = events
            self._due_at = time.monotonic()
            self._wake.notify_all()

    async def rest(self) -> None:
        """Return when nothing is on its way and nothing waits to be sent again."""
        async with self._wake:
            await self._wake.wait_for(lambda: not (self._busy or self._budget or self._again))

    async def _work(self) -> None:
        connector = aiohttp.TCPConnector(limit=1)  # one connection each, kept alive
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                request, is_new = await self._take()
                if is_new:
                    self._note({"marks": request.marks, "invalid": request.invalid, "text": request.text}, request)
                await self._deliver(session, request)
                if is_new and self._chance.random() < self._resend_share:
                    delay = self._chance.random() * RESEND_SECONDS_MAX
                    self._again.append((time.monotonic() + delay, request))
                async with self._wake:
                    self._busy -= 1
                    self._wake.notify_all()

    async def _take(self) -> tuple[Request, bool]:
        """The next request, and whether it is new; waits until one may be sent."""
        while True:
            async with self._wake:
                await self._wake.wait_for(lambda: self._budget or self._again)
                now = time.monotonic()
                if self._again and (now >= self._again[0][0] or not self._budget):
                    self._busy += 1
                    self.counts["resent"] += 1
                    return self._again.popleft()[1], False
                if self._budget and now >= self._due_at:
                    self._busy += 1
                    request = self._events.next_request(events_max=int(min(BATCH_EVENTS, self._budget)))
                    self._budget -= len(set(request.marks))
                    # who fell behind, because nobody answered, does not catch up with a burst
                    self._due_at = max(self._due_at + self._pause_seconds, now - 1)
                    self.counts["requests"] += 1
                    self.counts["events"] += len(set(request.marks))
                    return request, True
                pause = self._due_at - now
            await asyncio.sleep(max(0.001, min(pause, 0.05)))

    async def _deliver(self, session: aiohttp.ClientSession, request: Request) -> None:
        deadline = time.monotonic() + RETRY_SECONDS_MAX
        pause = RETRY_PAUSE_SECONDS_MIN
        while True:
            answer = await self._attempt(session, request)
            self.counts[answer["answer"]] += 1
            self._note(answer, request)
            if answer["answer"] != "unknown" or time.monotonic() > deadline:
                return
            await asyncio.sleep(pause * (0.5 + self._chance.random()))
            pause = min(pause * 2, RETRY_PAUSE_SECONDS_MAX)

    async def _attempt(self, session: aiohttp.ClientSession, request: Request) -> dict[str, Any]:
        headers = {"User-Agent": BROWSER, **request.headers}
        try:
            async with session.post(self._url, data=request.body, headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return {"answer": "unknown", "reason": type(error).__name__}
        if response.status >= 500 or response.status in TRY_AGAIN:
            return {"answer": "unknown", "reason": response.status}
        if response.status >= 400:
            return {"answer": "refused", "status": response.status}
        receipt = json.loads(body)
        rejected = [rejection["index"] for rejection in receipt["rejected"]]
        return {"answer": "acked", "accepted": receipt["accepted"] + receipt["duplicate"], "rejected": rejected}

    def _note(self, entry: dict[str, Any], request: Request) -> None:
        self._journal.write(json.dumps({"request": request.number, **entry}, ensure_ascii=False).encode() + b"\n")

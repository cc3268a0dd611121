"""Receiver: a webhook on 127.0.0.1 that verifies what comes with the library of the specification."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + "QUJD" * 12


class Received(NamedTuple):
    """A message that was verified."""

    message_id: str
    payload: dict[str, Any]
    headers: dict[str, str]
    body: bytes


Answer = Callable[[web.Request], web.StreamResponse]


class Receiver:
    """What came, and what is answered."""

    def __init__(self) -> None:
        """Answer 204 to what is signed, 401 to what is not."""
        self.url = ""
        self.received: list[Received] = []
        self.refused: list[str] = []
        self.asked = 0
        self.answer: Answer = lambda _request: web.Response(status=204)
        self.secret = SECRET

    @property
    def ids(self) -> list[str]:
        """The id of each message that was verified."""
        return [received.message_id for received in self.received]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Verify, keep, answer."""
        self.asked += 1
        body = await request.read()
        headers = dict(request.headers)
        try:
            payload = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as error:
            self.refused.append(str(error))
            return web.Response(status=401)
        self.received.append(Received(request.headers["webhook-id"], payload, headers, body))
        return self.answer(request)


@contextmanager
def receiving(context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Receiver]:
    """A receiver that runs beside the test, until the block ends."""
    receiver = Receiver()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> web.AppRunner:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", receiver.handle)
        runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, host, 0, ssl_context=context).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    scheme = "https" if context else "http"
    receiver.url = f"{scheme}://{host}:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

"""The stream over a real socket, and `evothesis tail`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSCloseCode, WSMsgType, WSServerHandshakeError

from tests.admin.desk import get, token
from tests.appliance import ROOT, TOKEN, Appliance, eventually
from tests.collector.client import ask, collect

SECONDS_MAX = 20


def connected(
    appliance: Appliance, query: dict[str, str], use: Callable[[ClientWebSocketResponse], Awaitable[Any]]
) -> Any:  # noqa: ANN401 - what its argument returns
    """What a client makes of the stream."""

    async def main() -> Any:  # noqa: ANN401 - as above
        async with (
            ClientSession(headers=appliance.admin_headers) as session,
            session.ws_connect(f"{appliance.admin_url}/stream", params=query) as socket,
        ):
            return await asyncio.wait_for(use(socket), SECONDS_MAX)

    return asyncio.run(main())


def send(appliance: Appliance, site: str, *numbers: int) -> None:
    """Events of a site, each in a request of its own."""
    for number in numbers:
        collect(appliance.url, {"eventType": f"type {number % 2}", "siteId": site, "n": number})


async def read(socket: ClientWebSocketResponse, wanted: int) -> tuple[list[int], str]:
    """The numbers of the next events, and the cursor behind them."""
    found: list[int] = []
    cursor = ""
    while len(found) < wanted:
        message = await socket.receive_json()
        found += [event["raw_event_data"]["n"] for event in message["events"]]
        cursor = message["cursor"]
    return sorted(found), cursor


def test_live(served: Appliance) -> None:
    """Events come as they are stored, those that are wished for; the first message says where the stream begins."""

    async def use(socket: ClientWebSocketResponse) -> tuple[Any, list[int]]:
        first = await socket.receive_json()
        await asyncio.to_thread(send, served, "other.example", 0, 1)
        await asyncio.to_thread(send, served, "live.example", 2, 3, 4)
        return first, (await read(socket, 2))[0]

    first, found = connected(served, {"site": "live.example", "type": "type 0"}, use)
    assert ([], [2, 4]) == (first["events"], found)


def test_resume(served: Appliance) -> None:
    """Who comes back with a cursor goes on behind it: with what was stored meanwhile, and with what comes."""

    async def begin(socket: ClientWebSocketResponse) -> tuple[list[int], str]:
        await socket.receive_json()
        await asyncio.to_thread(send, served, "again.example", 0, 1, 2)
        return await read(socket, 3)

    async def go_on(socket: ClientWebSocketResponse) -> list[int]:
        found, _ = await read(socket, 2)
        await asyncio.to_thread(send, served, "again.example", 5)
        return found + (await read(socket, 1))[0]

    before, cursor = connected(served, {"site": "again.example"}, begin)
    send(served, "again.example", 3, 4)
    assert ([0, 1, 2], [3, 4, 5]) == (before, connected(served, {"site": "again.example", "since": cursor}, go_on))


@pytest.mark.parametrize("seed", range(2))
def test_cut(served: Appliance, seed: int) -> None:
    """A stream that is cut again and again, while events come in, brings each of them once, in order of each writer."""
    chance = random.Random(seed)
    site, total = f"cut-{seed}.example", 150
    found: list[dict[str, Any]] = []

    async def follow(session: ClientSession, cursor: str) -> str:
        """Read some messages, and cut the connection while the server sends."""
        query = {"site": site} | ({"since": cursor} if cursor else {})
        async with session.ws_connect(f"{served.admin_url}/stream", params=query) as socket:
            for _ in range(chance.randint(1, 4)):
                message = await socket.receive_json()
                found.extend(message["events"])
                cursor = message["cursor"]
                if len(found) >= total:
                    break
            socket._response.connection.transport.abort()  # type: ignore[union-attr]  # it is there
        return cursor

    async def main() -> None:
        async with ClientSession(headers=served.admin_headers) as session:
            cursor = await follow(session, "")
            sending = asyncio.create_task(asyncio.to_thread(send, served, site, *range(total)))
            while len(found) < total:
                cursor = await asyncio.wait_for(follow(session, cursor), SECONDS_MAX)
            await sending

    asyncio.run(main())
    places: dict[int, list[tuple[int, int]]] = {}
    for event in found:
        places.setdefault(event["writer"], []).append((event["segment_no"], event["idx"]))
    assert list(range(total)) == sorted(event["raw_event_data"]["n"] for event in found)
    assert [] == [writer for writer, order in places.items() if order != sorted(set(order))]


def test_unread(served: Appliance) -> None:
    """A client that does not read holds up nobody."""

    async def use(socket: ClientWebSocketResponse) -> list[int]:
        socket._response.connection.transport.pause_reading()  # type: ignore[union-attr]  # it is there
        await asyncio.to_thread(send, served, "unread.example", *range(20))
        async with (
            ClientSession(headers=served.admin_headers) as session,
            session.ws_connect(f"{served.admin_url}/stream", params={"site": "unread.example"}) as other,
        ):
            await other.receive_json()
            await asyncio.to_thread(send, served, "unread.example", 20)
            while 20 not in (found := (await read(other, 1))[0]):
                pass
            return found

    assert 20 in connected(served, {}, use)


def test_no_websocket(served: Appliance) -> None:
    """A plain request is told what it lacks."""
    assert (400, "upgrade_missing") == get(served, "/stream").error


@pytest.mark.parametrize(
    ("header", "status"), [({}, 401), ({"Authorization": "Bearer wrong"}, 401)], ids=["none", "wrong"]
)
def test_unauthorized(served: Appliance, header: dict[str, str], status: int) -> None:
    """Without the right token there is no stream."""

    async def main() -> None:
        async with ClientSession(headers=header) as session, session.ws_connect(f"{served.admin_url}/stream"):
            pass

    with pytest.raises(WSServerHandshakeError) as refused:
        asyncio.run(main())
    assert status == refused.value.status


def spoken(secret: str) -> str:
    """A token as a browser's WebSocket says it."""
    return f"bearer.{base64.urlsafe_b64encode(secret.encode()).decode().rstrip('=')}"


@pytest.mark.parametrize("secret", [TOKEN, "wrong", "\u00e4 b/c+d=e", ""], ids=["right", "wrong", "strange", "empty"])
def test_subprotocol(served: Appliance, secret: str) -> None:
    """A browser, which can send no header there, says its token as a subprotocol; it is answered with the other one."""

    async def main() -> str | int | None:
        url = f"{served.admin_url}/stream"
        try:
            async with (
                ClientSession() as session,
                session.ws_connect(url, protocols=("evothesis", spoken(secret))) as socket,
            ):
                return socket.protocol
        except WSServerHandshakeError as refused:
            return refused.status

    assert ("evothesis" if secret == TOKEN else 401) == asyncio.run(main())


@pytest.mark.parametrize("text", ["bearer.", "bearer.!!", "bearer.A", "bearer._w", "basic.QQ", TOKEN])
def test_bad_subprotocol(served: Appliance, text: str) -> None:
    """What is no token in base64url is none."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": f"evothesis, {text}"}

    assert (401, "unauthorized") == ask(served.admin_url, "GET", "/stream", headers=headers).error


def test_unknown_subprotocol(served: Appliance) -> None:
    """Another subprotocol than ours is refused before anybody writes it, and a token beside it, into a log."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": f"chat, {spoken(TOKEN)}"}
    headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}

    assert (401, "unauthorized") == ask(served.admin_url, "GET", "/stream", headers=headers).error
    with_header = headers | served.admin_headers
    assert (400, "subprotocol_unknown") == ask(served.admin_url, "GET", "/stream", headers=with_header).error
    assert spoken(TOKEN) not in served.output_path.read_text()


def test_since_time(served: Appliance) -> None:
    """A stream may begin at a time, or so long ago."""
    send(served, "past.example", 0, 1)
    served.wait_until_drained()

    async def use(socket: ClientWebSocketResponse) -> list[int]:
        return (await read(socket, 2))[0]

    hour_ago = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%MZ}"
    for since in ("15m", "1h", "1d", hour_ago):
        assert [0, 1] == connected(served, {"site": "past.example", "since": since}, use)


@pytest.mark.parametrize("since", ["15", "m", "15 m", "-1m", "2026-02-30T10:00Z", "2026-02-03T10:00", "99999d"])
def test_bad_since(served: Appliance, since: str) -> None:
    """What is neither a cursor nor a time is refused."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | served.admin_headers
    answer = ask(served.admin_url, "GET", f"/stream?since={quote(since)}", headers=headers)

    assert (400, "since_invalid") == answer.error


def test_tail(served: Appliance) -> None:
    """`evothesis tail` prints events, survives the listener's end, and says where another one goes on."""
    secret, printed = served.folder / "token", served.folder / "printed"
    secret.write_text(token(served, "tail", "--scope", "read"))
    command = [sys.executable, "-m", "evothesis", "tail", "--config", str(served.config_path)]
    command += ["--site", "tail.example", "--format", "json", "--token-file", str(secret)]
    with printed.open("wb") as file:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        tail = subprocess.Popen(command, cwd=served.folder, stdout=file, stderr=file, env=environment)

    def numbers() -> list[int]:
        lines = printed.read_text().splitlines()
        return [json.loads(line)["raw_event_data"]["n"] for line in lines if line.startswith("{")]

    fresh = count()

    def is_seen() -> bool:
        send(served, "tail.example", next(fresh))  # until it is connected nobody prints them
        return numbers() != []

    eventually(is_seen, timeout=30)
    served.kill("evothesis: admin")
    send(served, "tail.example", 1_000_000)
    eventually(lambda: 1_000_000 in numbers(), timeout=30)
    tail.send_signal(signal.SIGINT)

    assert (130, 1) == (tail.wait(10), numbers().count(1_000_000))
    assert re.fullmatch(r"to go on: --since [\d:,-]+", printed.read_text().splitlines()[-1])


def test_end(served: Appliance) -> None:
    """A listener that ends says so to its clients."""

    async def use(socket: ClientWebSocketResponse) -> tuple[WSMsgType, int | None]:
        await socket.receive_json()
        served.send(served.pid("evothesis: admin"), signal.SIGTERM)
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            pass
        return message.type, socket.close_code

    assert (WSMsgType.CLOSE, WSCloseCode.GOING_AWAY) == connected(served, {}, use)
    eventually(lambda: get(served, "/events/count").status == 200)  # it is started again

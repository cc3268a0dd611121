"""`evothesis tail`."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evothesis.cli.common import ConfigPath, start
from evothesis.errors import ConfigurationError, UnreachableError

if TYPE_CHECKING:
    from aiohttp import ClientSession

RETRY_SECONDS = 1.0
PING_SECONDS = 20.0
MESSAGE_BYTES_MAX = 16 * 2**20


class TailFormat(StrEnum):
    """How events are printed."""

    TEXT = "text"
    JSON = "json"


def command(
    config: ConfigPath = None,
    site: Annotated[str | None, typer.Option(help="Events of this site only.", show_default=False)] = None,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Events of this type only.", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Begin so long ago (15m), then (2026-11-22T09:30Z), or at a cursor.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Holds a token, when admin.token is not set.", show_default=False)
    ] = None,
    form: Annotated[TailFormat, typer.Option("--format", help="A line for a reader, or an object.")] = TailFormat.TEXT,
) -> None:
    """Print events as they are stored, until Ctrl-C.

    Asks the operator's API of a running `evothesis serve`, and goes on behind what it has seen when that is started
    again. At its end it says the cursor with which another one goes on.

    \b
    Examples:
      evothesis tail --site shop.example.com --since 15m
      evothesis tail --type order --format json | jq .raw_event_data
    """
    import asyncio

    settings = start(config)
    try:
        token = token_file.read_text(encoding="utf-8").strip() if token_file else settings.admin.token
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {token_file}"
        raise ConfigurationError(message, hint="write a token of `evothesis token create` into it") from error
    if not token:
        message = "there is no token to ask with"
        raise ConfigurationError(message, hint="set admin.token, or name a file with --token-file")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.admin.host, settings.admin.host)  # noqa: S104 - read, not bound
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.admin.port}/stream"
    tail = _Tail(url, {"Authorization": f"Bearer {token}"}, {"site": site, "type": kind, "since": since}, form)
    try:
        asyncio.run(tail.run())
    finally:
        if tail.cursor:
            print(f"to go on: --since {tail.cursor}", file=sys.stderr)


class _Tail:
    def __init__(self, url: str, headers: dict[str, str], wish: dict[str, str | None], form: TailFormat) -> None:
        self.cursor: str | None = None
        self._url = url
        self._headers = headers
        self._wish = {name: value for name, value in wish.items() if value is not None}
        self._form = form

    async def run(self) -> None:
        """For ever, once the first connection was made."""
        import asyncio

        import aiohttp

        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                try:
                    await self._follow(session)
                except aiohttp.WSServerHandshakeError as error:
                    if self.cursor is None or error.status in (400, 401, 403):
                        raise _refused(error.status) from error
                except aiohttp.ClientError as error:
                    if self.cursor is None:
                        message = f"cannot reach {self._url}"
                        raise UnreachableError(message, hint="is `evothesis serve` running?") from error
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, session: ClientSession) -> None:
        from aiohttp import WSMsgType

        wish = self._wish | ({"since": self.cursor} if self.cursor else {})
        options: dict[str, Any] = {"params": wish, "heartbeat": PING_SECONDS, "max_msg_size": MESSAGE_BYTES_MAX}
        async with session.ws_connect(self._url, **options) as socket:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    told = json.loads(message.data)
                    for event in told["events"]:
                        print(json.dumps(event) if self._form is TailFormat.JSON else _line(event))
                    sys.stdout.flush()
                    self.cursor = told["cursor"]  # behind what was printed: nothing is lost to who goes on from here


def _refused(status: int) -> ConfigurationError | UnreachableError:
    if status in (401, 403):
        return ConfigurationError("the operator's API refused the token", hint="has it the scope read? is it right?")
    if status == 400:  # noqa: PLR2004 - what aiohttp says of a wrong parameter
        return ConfigurationError(
            "the operator's API refused --since", hint="give 15m, 2026-11-22T09:30Z, or what `tail` printed"
        )
    return UnreachableError(f"the operator's API answered {status}", hint="its /health says why; run it again")


def _line(event: dict[str, Any]) -> str:
    """Time, site, type and page of an event; what a stranger wrote cannot command the terminal."""
    parts = (event["created_at"][11:19], event["site_id"], event["event_type"], event["url"] or event["path"] or "")
    return "  ".join("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in part) for part in parts)

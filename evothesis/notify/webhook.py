"""Webhook: a signed message in, one POST, what came of it out.

The address that is connected to is the one that is looked at, whatever a name resolves to a moment later. No redirect
is followed, no proxy is asked, and of an answer nothing but its head is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from evothesis import __version__
from evothesis.config import Notify
from evothesis.notify.schedule import Attempt
from evothesis.notify.signature import headers

TIMEOUT_SECONDS = 20  # Standard Webhooks: 15 to 30; from the first look at the name to the head of the answer
GONE = 410
BUSY = frozenset({408, 429, 502, 503, 504})  # not 500: that may be one message's fault, and others pass


def is_public(address: str) -> bool:
    """Whether an address is of some other machine on the internet, not of this one, its network or its cloud."""
    found = ipaddress.ip_address(address)
    inner = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    known = inner or found
    if not known.is_global or known.is_multicast or known.is_reserved:
        return False
    # 2002::/16 and fec0::/10, both given up, lead to networks that others choose
    return isinstance(known, ipaddress.IPv4Address) or not (known.sixtofour or known.is_site_local)


def post(settings: Notify, message_id: str, body: bytes) -> Attempt:
    """Send a message to the webhook, signed for this moment."""
    signed = headers(message_id, int(time.time()), body, settings.webhook_keys)
    try:
        return asyncio.run(_post(settings, body, signed))
    except TimeoutError:
        return Attempt(error=f"no answer within {TIMEOUT_SECONDS} s", is_passing=True)
    except aiohttp.InvalidURL as error:  # 127.1, 2130706433 and other ways to write an address
        return Attempt(error=f"the webhook has no usable address: {error}", hint="correct notify.webhook_url")
    except aiohttp.ClientSSLError as error:
        return Attempt(error=str(error), hint="renew the certificate of the webhook, or trust who signed it")
    except aiohttp.ClientError as error:
        return Attempt(error=str(error) or type(error).__name__, is_passing=True)


async def _post(settings: Notify, body: bytes, signed: Mapping[str, str]) -> Attempt:
    refused: list[str] = []

    def guarded(info: aiohttp.AddrInfoType) -> socket.socket:
        address = str(info[4][0])
        if not settings.webhook_private and not is_public(address):
            refused.append(address)
            raise ConnectionRefusedError
        return socket.socket(info[0], info[1], info[2])

    known = {**signed, "Content-Type": "application/json", "User-Agent": f"evothesis/{__version__}"}
    # the library's own context is made when it is imported; to make one takes longer than all the rest
    context = ssl.create_default_context() if settings.webhook_url.startswith("https:") else True
    connector = aiohttp.TCPConnector(ssl=context, socket_factory=guarded)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        try:
            async with session.post(settings.webhook_url, data=body, headers=known, allow_redirects=False) as response:
                return _attempt(response.status, response.headers.get("Retry-After", ""))
        except aiohttp.ClientConnectorError:
            if not refused:
                raise
            message = f"the webhook is at {', '.join(refused)}, which is not on the internet"
            return Attempt(error=message, hint="correct notify.webhook_url, or set notify.webhook_private")


def _attempt(status: int, retry_after: str) -> Attempt:
    if 200 <= status < 300:  # noqa: PLR2004 - the class of status codes that means success
        return Attempt(answer=str(status))
    hints = {3: "redirects are not followed: put the address that it names into notify.webhook_url"}
    return Attempt(
        error=f"the webhook answered {status}",
        hint=hints.get(status // 100),
        retry_after=_seconds(retry_after),
        is_passing=status in BUSY,
        is_final=status == GONE,
    )


def _seconds(retry_after: str) -> timedelta:
    """What RFC 9110, 10.2.3 allows: seconds, or a date; anything else is no wish."""
    if retry_after.isascii() and retry_after.isdigit():
        return timedelta(seconds=min(int(retry_after[:9]), 10**8))
    try:
        return max(parsedate_to_datetime(retry_after) - datetime.now(UTC), timedelta(0))
    except (ValueError, TypeError):  # no date, or one without a zone
        return timedelta(0)

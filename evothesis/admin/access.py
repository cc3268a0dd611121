"""Access: who may ask for what. Deny by default: a request without a route in the table has no right to anything."""

from __future__ import annotations

import base64
import logging
import time

import psycopg
from aiohttp import web
from psycopg_pool import PoolTimeout

from evothesis.admin.tokens import Holder, Scope, holder, record
from evothesis.collector.limits import Limiter, address_prefix
from evothesis.pg import Connections

log = logging.getLogger(__name__)

WRONG_PER_SECOND = 20  # of one address, with bursts of two seconds' worth: nobody guesses 256 bits so
SUBPROTOCOL = "evothesis"  # of the stream; a browser's token stands beside it
SPOKEN = "bearer."
RECORD_SECONDS = 60.0  # between two lines in audit_log about one sender
RECORDED_MAX = 1_000  # senders: anybody may have a million addresses
NOBODY = "(unknown)"


class AccessError(Exception):
    """A request is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """All three are told."""
        super().__init__(message)
        self.status, self.code = status, code


class Access:
    """The tokens, and who was wrong about them."""

    def __init__(self, configured: str) -> None:
        """`configured` is the token of the configuration, empty when there is none."""
        self._configured = configured
        self._wrong = Limiter(WRONG_PER_SECOND)
        self._recorded: dict[tuple[str, str], float] = {}

    async def demand(self, request: web.Request, connections: Connections, scope: Scope | None) -> Holder:
        """Who asks; `scope` None is what no route is for. Raises AccessError, and as `tokens.holder`."""
        secret = _secret(request)
        if secret is None:
            raise AccessError(401, "unauthorized", "a bearer token is needed: `evothesis token create` makes one")
        address = address_prefix(request.remote) or ""
        # asked before the token is looked at: a right guess must not tell itself by its answer
        if self._wrong.refuses(address, time.monotonic()):
            raise AccessError(429, "too_many_attempts", "too many wrong tokens came from this address")
        try:
            found = await holder(connections, secret, configured=self._configured)
        except (psycopg.Error, PoolTimeout):
            self._wrong.takes(address, time.monotonic())
            raise
        if found is None:
            self._wrong.takes(address, time.monotonic())
            await self._record(connections, NOBODY, "token-refused", address, request)
            raise AccessError(401, "unauthorized", "this token is not known, was revoked, or has expired")
        if scope and not found.may(scope):
            await self._record(connections, found.name, "scope-refused", address, request)
            raise AccessError(403, "forbidden", f"this token has not the scope {scope}")
        return found

    async def _record(
        self, connections: Connections, name: str, action: str, address: str, request: web.Request
    ) -> None:
        """Once a minute for each sender: who guesses must not fill the disk."""
        sender = name, address
        now = time.monotonic()
        self._recorded = {known: at for known, at in self._recorded.items() if now - at < RECORD_SECONDS}
        if sender in self._recorded or len(self._recorded) >= RECORDED_MAX:
            return
        self._recorded[sender] = now
        log.warning("Token refused; audit_log has the address.", extra={"action": action})
        try:
            await record(connections, name, action, {"address": address, "path": request.path[:200]})
        except (psycopg.Error, PoolTimeout):
            del self._recorded[sender]


def _secret(request: web.Request) -> str | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip() or None
    return _spoken(request)


def _spoken(request: web.Request) -> str | None:
    """The token among a WebSocket's subprotocols: browsers send no other header there that a page may choose.

    It is in base64url, for a subprotocol's name holds few signs. An address would be kept in logs and histories.
    """
    spoken = subprotocols(request)
    if SUBPROTOCOL not in spoken or request.headers.get("Upgrade", "").lower() != "websocket":
        return None
    text = next((name.removeprefix(SPOKEN) for name in spoken if name.startswith(SPOKEN)), "")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() or None
    except ValueError:
        return None


def subprotocols(request: web.Request) -> list[str]:
    """Those that a WebSocket's client offers."""
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name for name in map(str.strip, offered.split(",")) if name]

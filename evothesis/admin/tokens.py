"""Tokens: names and scopes in, secrets that are shown once out; what comes back is compared by its digest."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, NamedTuple, get_args

import psycopg
from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.errors import ConfigurationError
from evothesis.pg import AsyncConnection, Connections

Scope = Literal["read", "export", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

PREFIX = "evothesis_"  # by which scanners of repositories can tell that it is one
SECRET_BYTES = 32

CREATE = """
insert into tokens (name, sha256, scopes, expires_at)
values (%(name)s, %(sha256)s, %(scopes)s, now() + %(lifetime)s)
returning name, scopes, created_at, expires_at, last_used_at
"""
LIST = """
select name, scopes, created_at, expires_at, last_used_at from tokens
 where revoked_at is null order by name
"""
REVOKE = "update tokens set revoked_at = now() where name = %(name)s and revoked_at is null"
FIND = """
-- by its digest: how long the look takes tells nothing of the token
select token_id, name, sha256, scopes, coalesce(last_used_at < now() - interval '1 minute', true) as is_news
  from tokens where sha256 = %(sha256)s and revoked_at is null and coalesce(expires_at > now(), true)
"""
USED = "update tokens set last_used_at = now() where token_id = %(token_id)s"
AUDIT = "insert into audit_log (actor, action, details) values (%(actor)s, %(action)s, %(details)s)"


class Token(NamedTuple):
    """What is known of a token that may be used, or has expired."""

    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None  # to the minute


class Holder(NamedTuple):
    """Who asks."""

    name: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        """Whether its scopes are enough: `admin` stands for all of them."""
        return scope in self.scopes or "admin" in self.scopes


def create(
    connection: pg.Connection, name: str, scopes: Iterable[Scope], *, lifetime: timedelta | None, actor: str
) -> tuple[str, Token]:
    """Make a token: its secret, which nobody can tell again, and what is known of it.

    Raises ConfigurationError when the name is taken.
    """
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    fields = {"name": name, "scopes": sorted(set(scopes)), "lifetime": lifetime}
    try:
        with connection.transaction():
            row = pg.one(connection, CREATE, fields | {"sha256": digest(secret)})
            token = Token(**row)
            details = {"name": name, "scopes": token.scopes, "expires_at": token.expires_at}
            _audit(connection, actor, "token-create", details)
    except psycopg.errors.UniqueViolation as error:
        message = f"there is a token named {name}"
        raise ConfigurationError(message, hint="choose another name, or revoke it first") from error
    return secret, token


def tokens(connection: pg.Connection) -> list[Token]:
    """All that were not revoked, by name."""
    return [Token(**row) for row in connection.execute(LIST).fetchall()]


def revoke(connection: pg.Connection, name: str, *, actor: str) -> None:
    """Make a token worthless from now on. Raises ConfigurationError when there is none of this name."""
    with connection.transaction():
        if not connection.execute(REVOKE, {"name": name}).rowcount:
            message = f"there is no token named {name}"
            raise ConfigurationError(message, hint="`evothesis token list` shows those that there are")
        _audit(connection, actor, "token-revoke", {"name": name})


def _audit(connection: pg.Connection, actor: str, action: str, details: Mapping[str, object]) -> None:
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in details.items()}
    connection.execute(AUDIT, {"actor": actor, "action": action, "details": Jsonb(told)})


async def holder(connections: Connections, secret: str, *, configured: str) -> Holder | None:
    """Who has this secret, None when nobody may use it; `configured` is that of the configuration.

    Raises psycopg.Error and PoolTimeout when only the database could tell.
    """
    told = digest(secret)
    # digests have one length, so that the comparison tells nothing about the token's
    if hmac.compare_digest(told, digest(configured)) and configured:
        return Holder("admin.token", frozenset(SCOPES))
    async with connections.connection() as connection:
        row = await (await connection.execute(FIND, {"sha256": told})).fetchone()
        if row is None or not hmac.compare_digest(told, row["sha256"]):
            return None
        if row["is_news"]:
            await change(connection, USED, {"token_id": row["token_id"]})
    return Holder(f"token {row['name']}", frozenset(row["scopes"]))


async def record(connections: Connections, actor: str, action: str, details: dict[str, object]) -> None:
    """Put a line into audit_log. Raises psycopg.Error and PoolTimeout."""
    async with connections.connection() as connection:
        await change(connection, AUDIT, {"actor": actor, "action": action, "details": Jsonb(details)})


async def change(connection: AsyncConnection, query: str, parameters: dict[str, object]) -> None:
    """Write, with a connection whose queries may only read."""
    async with connection.transaction():
        await connection.execute("set transaction read write")
        await connection.execute(query, parameters)


def digest(secret: str) -> bytes:
    """What is kept of a secret. It is random and long, so that no salt and no slow hash could add anything."""
    return sha256(secret.encode(errors="replace")).digest()

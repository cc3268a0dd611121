"""Tokens: what the commands print, and what is on record afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import combinations
from statistics import median

import psycopg
import pytest
from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.admin.tokens import create, digest, holder, revoke, tokens
from evothesis.errors import ConfigurationError
from evothesis.pg import Connections
from tests.appliance import ROOT

AUDIT = "select actor, action, details from audit_log order by audit_id"
RECORD = "insert into audit_log (actor, action, details) values ('test', %(action)s, %(details)s)"

TOKEN_LENGTH = 2**18  # so long that a comparison which ends at the first difference tells it over a network, too
ROUNDS, TRIES = 80, 3
MEASUREMENTS = 3  # a difference that is there is in each of them; one that a busy machine makes is not

Ask = Callable[[Connections, str, str], Awaitable[object]]


@pytest.fixture
def connection(database: str) -> Iterator[pg.Connection]:
    """An empty database."""
    with pg.connect(database, name="test") as connection:
        yield connection


def evothesis(database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that works on this database."""
    environment = os.environ | {"EVOTHESIS_DATABASE_URL": database, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", "evothesis", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def broken(connection: pg.Connection) -> list[int]:
    """The entries of the audit log that are not what they were."""
    return [row["audit_id"] for row in connection.execute("select audit_id from audit_problems").fetchall()]


def test_create(connection: pg.Connection) -> None:
    """A new token is long, and only its digest is kept."""
    secret, token = create(connection, "one", ["read", "export", "read"], lifetime=timedelta(days=2), actor="root")
    row = pg.one(connection, "select * from tokens")

    assert re.fullmatch(r"evothesis_[\w-]{43}", secret)
    assert (["export", "read"], timedelta(days=2)) == (token.scopes, row["expires_at"] - row["created_at"])
    assert (digest(secret), [token]) == (row["sha256"], tokens(connection))


def test_name_taken(connection: pg.Connection) -> None:
    """A name stands for one token; it is free again when that was revoked."""
    create(connection, "one", ["read"], lifetime=None, actor="root")
    with pytest.raises(ConfigurationError, match="there is a token named one"):
        create(connection, "one", ["read"], lifetime=None, actor="root")
    revoke(connection, "one", actor="root")
    create(connection, "one", ["admin"], lifetime=None, actor="root")

    assert [["admin"]] == [token.scopes for token in tokens(connection)]


def test_revoke_unknown(connection: pg.Connection) -> None:
    """What is not there cannot be revoked."""
    with pytest.raises(ConfigurationError, match="there is no token named one"):
        revoke(connection, "one", actor="root")


def test_audit(connection: pg.Connection) -> None:
    """Every change of tokens is on record, what failed is not."""
    create(connection, "one", ["read"], lifetime=None, actor="anna")
    with pytest.raises(ConfigurationError):
        create(connection, "one", ["read"], lifetime=None, actor="anna")
    revoke(connection, "one", actor="ben")

    expected = [
        ("anna", "token-create", {"name": "one", "scopes": ["read"], "expires_at": None}),
        ("ben", "token-revoke", {"name": "one"}),
    ]
    assert expected == [tuple(row.values()) for row in connection.execute(AUDIT).fetchall()]


def test_audit_chain(connection: pg.Connection) -> None:
    """An entry that is changed, taken away or put in between is found, by who may do that."""
    for number in range(6):
        connection.execute(RECORD, {"action": f"action {number}", "details": Jsonb({"b": number, "a": [1.50, "ä"]})})
    assert [] == broken(connection)
    connection.execute("alter table audit_log disable trigger all")

    connection.execute("update audit_log set actor = 'nobody' where audit_id = 3")
    assert [3] == broken(connection)
    connection.execute("update audit_log set actor = 'test' where audit_id = 3")
    connection.execute("delete from audit_log where audit_id = 5")
    assert [6] == broken(connection)


@pytest.mark.parametrize("change", ["update audit_log set actor = ''", "delete from audit_log", "truncate audit_log"])
def test_audit_only_grows(connection: pg.Connection, change: str) -> None:
    """Nothing that was recorded can be changed by a mistake."""
    connection.execute(RECORD, {"action": "action", "details": Jsonb({})})

    with pytest.raises(psycopg.errors.RaiseException, match="audit_log only grows"):
        connection.execute(change)


def test_commands(database: str) -> None:
    """A token is printed alone on stdout, so that it can be put into a file; lists do not show it."""
    made = evothesis(database, "token", "create", "grafana [x]", "--scope", "read", "--days", "30")
    listed = evothesis(database, "token", "list")
    as_json = json.loads(evothesis(database, "token", "list", "--format", "json").stdout)["tokens"]

    assert re.fullmatch(r"evothesis_[\w-]{43}\n", made.stdout)
    assert "shown this once" in made.stderr
    assert made.stdout.strip() not in listed.stdout
    assert [True] == ["grafana [x]" in line for line in listed.stdout.splitlines() if "grafana" in line]
    assert [("grafana [x]", ["read"])] == [(line["name"], line["scopes"]) for line in as_json]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "x", "--scope", "write"], "Invalid value for '--scope'"),
        (["create", "a\nb", "--scope", "read"], "Invalid value: a name has 1 to 100 printable characters"),
        (["revoke", "nobody's"], "there is no token named nobody's"),
    ],
    ids=str,
)
def test_bad_commands(database: str, arguments: list[str], message: str) -> None:
    """What cannot be is code 2, with the reason."""
    done = evothesis(database, "token", *arguments)

    assert (2, "") == (done.returncode, done.stdout)
    assert f"Error: {message}" in done.stderr


async def ask_naively(connections: Connections, secret: str, configured: str) -> object:
    """What `holder` must not do: compare secrets themselves, up to the first sign that differs."""
    if secret == configured:
        return "admin.token"
    async with connections.connection():
        return None


async def ask(connections: Connections, secret: str, configured: str) -> object:
    """What the operator's listener does with a token."""
    return await holder(connections, secret, configured=configured)


async def nanoseconds(ask: Ask, connections: Connections, secret: str, configured: str) -> int:
    """How long a wrong token takes until the database is asked for it, at best."""
    spent = []
    for _ in range(TRIES):
        began = time.perf_counter_ns()
        with pytest.raises(psycopg.OperationalError):  # the pool is not open: no network is in what is measured
            await ask(connections, secret, configured)
        spent.append(time.perf_counter_ns() - began)
    return min(spent)


async def told(ask: Ask) -> float:
    """By how many nanoseconds the answers to wrong tokens differ, by how much of the right one they begin with."""
    connections = pg.pool("", name="test")
    chance = random.Random(8)
    spent: dict[str, list[int]] = {"all but the last sign": [], "not the first sign": [], "nothing": []}
    for _ in range(ROUNDS):
        configured = secrets.token_hex(TOKEN_LENGTH // 2)
        guesses = {
            "all but the last sign": configured[:-1] + "-",
            "not the first sign": "-" + configured[1:],
            "nothing": secrets.token_hex(TOKEN_LENGTH // 2),
        }
        for name in chance.sample([*guesses], k=len(guesses)):  # what disturbs, disturbs each of them
            spent[name].append(await nanoseconds(ask, connections, guesses[name], configured))
    # of neighbours in time: a machine that becomes slower does not look like a difference
    return max(
        abs(median(one - other for one, other in zip(spent[a], spent[b], strict=True)))
        for a, b in combinations(spent, 2)
    )


def test_timing() -> None:
    """How long a wrong token takes does not tell how much of it is right; where it does, this measurement sees it.

    Tokens of the database are looked for by their digests, and their secrets are nowhere to be compared with.
    """
    naively = min(asyncio.run(told(ask_naively)) for _ in range(MEASUREMENTS))

    assert naively > 2_000
    assert min(asyncio.run(told(ask)) for _ in range(MEASUREMENTS)) < naively / 2

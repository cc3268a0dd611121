"""Access: every route that the application serves, with every kind of token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web

from evothesis.admin.http import admin_application
from evothesis.admin.routes import ROUTES
from evothesis.config import Config
from evothesis.numbers import Board
from tests.admin.desk import change, get, token
from tests.appliance import Appliance, eventually
from tests.collector.client import Answer, ask
from tests.collector.shared import running

SCOPES = ("read", "export", "admin")
WRONG_AT_ONCE, GUESSERS = 100, 8
RECORDED = "select actor, details ->> 'address' as address from audit_log where action = 'token-refused'"


def routes() -> list[tuple[str, str]]:
    """What the application's router serves: read from it, not from the table that it is made of."""
    application: web.Application = admin_application(Config(), "", Board(1))
    found = {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    return sorted(found)


def allowed(method: str, path: str) -> set[str]:
    """The scopes that are enough, as the documents say; None stands for no token."""
    scope = {(route.method, route.path): route.scope for route in ROUTES}[method, path]
    return {scope, "admin"} if scope else {*SCOPES, "none"}


@pytest.fixture(scope="module")
def tokens(served: Appliance) -> dict[str, str]:
    """A token for each scope."""
    return {scope: token(served, f"only {scope}", "--scope", scope) for scope in SCOPES}


@pytest.mark.parametrize(("method", "path"), routes(), ids=" ".join)
def test_scopes(served: Appliance, tokens: dict[str, str], method: str, path: str) -> None:
    """A route is for the scope that stands in the table, for `admin`, and for nobody else."""
    found = {}
    for name, secret in {**tokens, "none": "", "wrong": "evothesis_wrong"}.items():
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        found[name] = ask(served.admin_url, method, path, headers=headers).status

    refused = {name: 401 if name in ("none", "wrong") else 403 for name in found if name not in allowed(method, path)}
    if "none" in allowed(method, path):
        refused = {}
    assert refused == {name: status for name, status in found.items() if status in (401, 403)}


def test_wrong_scope(served: Appliance) -> None:
    """Who asks for more than his token is for stands in the audit log by its name, once a minute."""
    secret = token(served, "curious", "--scope", "read")
    statuses = [get(served, "/export/config", secret).status for _ in range(3)]

    assert [403, 403, 403] == statuses
    recorded = served.rows("select action, details from audit_log where actor = 'token curious'")
    assert [{"action": "scope-refused", "details": {"address": "127.0.0.1", "path": "/export/config"}}] == recorded


def test_open() -> None:
    """Without a token there are the health, and the page that asks for one."""
    assert [("GET", "/"), ("GET", "/health")] == [way for way in routes() if "none" in allowed(*way)]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods(served: Appliance, tokens: dict[str, str], method: str) -> None:
    """No other method is a way around a scope."""
    headers = {"Authorization": f"Bearer {tokens['read']}"}

    assert ask(served.admin_url, method, "/export/config", headers=headers).status in (403, 405)


def test_revoked(served: Appliance) -> None:
    """A token that was revoked is worth nothing from the next request on."""
    secret = token(served, "short", "--scope", "read")
    before = get(served, "/events/count", secret).status
    assert 0 == served.cli("token", "revoke", "short").returncode

    assert (200, 401) == (before, get(served, "/events/count", secret).status)


def test_expired(served: Appliance) -> None:
    """A token is worth nothing when its time is over."""
    secret = token(served, "old", "--scope", "read", "--days", "1")
    before = get(served, "/events/count", secret).status
    change(served, "update tokens set expires_at = now() where name = 'old'")

    assert (200, 401) == (before, get(served, "/events/count", secret).status)


def test_last_use(served: Appliance, tokens: dict[str, str]) -> None:
    """When a token was used is known, to the minute."""
    token(served, "unused", "--scope", "read")
    assert 200 == get(served, "/events/count", tokens["read"]).status
    listed = {line["name"]: line for line in served.json("token", "list")["tokens"]}

    assert (True, False) == tuple(bool(listed[name]["last_used_at"]) for name in ("only read", "unused"))


def test_guessing(tmp_path: Path, postgres_template: Path) -> None:
    """Who guesses is slowed down after a while, also when the guess is right, and recorded once; later all is well."""
    with running(tmp_path, postgres_template) as appliance:
        wrong: set[tuple[int, str]] = set()

        def guess(number: int) -> tuple[int, str]:
            return get(appliance, "/usage", f"guess {number}").error

        def refused() -> Answer:
            with ThreadPoolExecutor(GUESSERS) as executor:  # one alone may be too slow to be slowed
                wrong.update(executor.map(guess, range(WRONG_AT_ONCE)))
            right = get(appliance, "/usage")
            assert 200 != right.status
            return right

        right = eventually(refused)
        assert {(401, "unauthorized"), (429, "too_many_attempts")} == wrong
        assert (429, "1") == (right.status, right.headers["Retry-After"])
        assert [{"actor": "(unknown)", "address": "127.0.0.1"}] == appliance.rows(RECORDED)
        assert eventually(lambda: get(appliance, "/usage").status == 200)


def test_no_token_anywhere(served: Appliance, tokens: dict[str, str]) -> None:
    """A token is kept nowhere: neither in the database nor in the log nor in a file."""
    dumped = repr(served.rows("select tokens::text from tokens")) + repr(served.rows("select a::text from audit_log a"))
    kept = [*(path.read_bytes() for path in served.folder.rglob("*") if path.is_file()), dumped.encode()]

    assert [] == [name for name, secret in tokens.items() if any(secret.encode() in text for text in kept)]

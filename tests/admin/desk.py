"""What an operator does in tests: ask, and make tokens."""

from __future__ import annotations

import json
from typing import Any, LiteralString

import psycopg

from tests.appliance import Appliance
from tests.collector.client import Answer, ask


def get(appliance: Appliance, path: str, token: str | None = None) -> Answer:
    """GET with a token, that of the configuration if no other is given."""
    headers = {"Authorization": f"Bearer {token}"} if token else appliance.admin_headers
    return ask(appliance.admin_url, "GET", path, headers=headers)


def document(appliance: Appliance, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON of a GET that succeeds."""
    answer = get(appliance, path)
    assert 200 == answer.status, answer.body
    return answer.json


def token(appliance: Appliance, name: str, *options: str) -> str:
    """A new token."""
    done = appliance.cli("token", "create", name, "--format", "json", *options)
    assert 0 == done.returncode, done.stderr
    secret: str = json.loads(done.stdout)["token"]
    return secret


def change(appliance: Appliance, query: LiteralString) -> None:
    """Change the database behind its back."""
    with psycopg.connect(appliance.dsn) as connection:
        connection.execute(query)

"""Settings: a configuration that differs from the last one is on record, without its secrets."""

from __future__ import annotations

import asyncio
from typing import Any

from evothesis import pg
from evothesis.admin.settings import changes, record
from evothesis.config import Admin, Config, Database, Destination, Export
from tests.fix_world import World

RECORDED = "select actor, details -> 'changed' as changed, details::text as text from audit_log order by audit_id"


def start(world: World, *configs: Config) -> list[dict[str, Any]]:
    """What is on record when it was started with each of these."""

    async def main() -> None:
        async with pg.pool(world.database, name="test") as connections:
            for config in configs:
                await record(config, connections)

    asyncio.run(main())
    return world.rows(RECORDED)


def test_recorded(world: World) -> None:
    """The first start, and each with another configuration, are told of once, with what changed."""
    other = Config(instance="acme", admin=Admin(token="a-token-of-the-tests"))
    rows = start(world, Config(), Config(), other, other)

    changed = {"instance": ["evothesis", "acme"], "admin.token": ["", "…"]}
    assert [("serve", {}), ("serve", changed)] == [(row["actor"], row["changed"]) for row in rows]


def test_secrets(world: World) -> None:
    """Nothing that is secret is written down."""
    destination = Destination(name="client", url="s3://bucket/x", access_key_id="k", secret_access_key="a-secret-key")
    config = Config(
        admin=Admin(token="a-token"),
        database=Database(url="postgresql://somebody:a-password@db.example/evothesis"),
        export=Export(destination=(destination,)),
    )
    (row,) = start(world, config)

    assert [] == [secret for secret in ("a-password", "a-secret-key", "a-token") if secret in row["text"]]
    assert "export.destination.client.url" in row["text"]


def test_taken_away() -> None:
    """What is not there any more was something, and is nothing."""
    assert {"b": [2, None], "c": [None, 3]} == changes({"a": 1, "b": 2}, {"a": 1, "c": 3})

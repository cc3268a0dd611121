"""Settings: the configuration that runs in, a line in audit_log whenever it is another one than the last time out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from evothesis.admin import tokens
from evothesis.config import Config
from evothesis.pg import Connections
from evothesis.setting import masked

ACTION = "configuration"
RETRY_SECONDS = 5.0  # the database may be away, or be given its tables just now

LAST = """
select details -> 'settings' as settings from audit_log
 where action = %(action)s order by audit_id desc limit 1
"""


async def record(config: Config, connections: Connections) -> None:
    """Record what differs, once the database answers."""
    # as JSON has it, which it is compared with
    now = dict(_flat("", msgspec.json.decode(msgspec.json.encode(config, enc_hook=str))))
    while True:
        try:
            async with connections.connection() as connection:
                row = await (await connection.execute(LAST, {"action": ACTION})).fetchone()
            before: dict[str, Any] = row["settings"] if row else {}
            if before != now:
                await tokens.record(connections, "serve", ACTION, {"changed": changes(before, now), "settings": now})
        except (psycopg.Error, PoolTimeout):
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What a setting was, and what it is: null where there was none. Of the first time nothing is told."""
    if not before:
        return {}
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return {name: [before.get(name), now.get(name)] for name in names}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any part of a configuration
    """Each setting by its dotted name, secrets masked: that one is there is told, not which."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, masked(name, part))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, part in enumerate(value):
            yield from _flat(f"{prefix}.{part.get('name', number)}", part)
    else:
        yield prefix, value

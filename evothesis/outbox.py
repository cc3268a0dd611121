"""Outbox: what happened in, in the transaction that makes it so; a message that `usage notify` sends later out.

A message that was added is delivered at least once to whoever is configured to receive it, also after a crash at any
moment. What happened is named by kind and key, and told once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from evothesis import pg
from evothesis.setting import Kind

ADD = "insert into outbox (kind, key, data) values (%(kind)s, %(key)s, %(data)s::json) on conflict do nothing"


def add(connection: pg.Connection, kind: Kind, key: str, data: Mapping[str, Any]) -> bool:
    """Add a message to the caller's transaction; False when there is one of this kind and key.

    `data` is what docs/notifications.md says of the kind. Dates, Decimal and UUID become text.
    """
    text = msgspec.json.encode(data).decode()
    return connection.execute(ADD, {"kind": kind, "key": key, "data": text}).rowcount == 1

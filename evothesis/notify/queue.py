"""Queue: messages of the outbox in; who receives them, what is due, and a record of what became of it out."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from evothesis import pg
from evothesis.config import Config, Notify

NAMESPACE = uuid.UUID("3f1c1f0e-5b0c-4f6e-9f57-1d0a6b1c9a42")  # of ids that are made of (instance, kind, key)
KEPT = timedelta(days=90)  # longer than a month's thresholds could be told again

UNDECIDED = """
select outbox_id, kind, key, data::text as data, created_at from outbox where message_id is null
 order by outbox_id for update skip locked
"""
DECIDE = "update outbox set message_id = %(message_id)s, payload = %(payload)s where outbox_id = %(outbox_id)s"
ADDRESS = """
insert into outbox_deliveries (outbox_id, channel, next_attempt_at)
select %(outbox_id)s, channel, %(now)s from unnest(%(channels)s::text[]) as channel
"""
DUE = """
-- skip locked: two runs at once send different messages. It stays locked while it is sent
select d.outbox_id, d.channel, d.attempts, o.kind, o.key, o.message_id, o.payload
  from outbox_deliveries d join outbox o using (outbox_id)
 where d.channel = %(channel)s and d.next_attempt_at <= %(now)s
 order by d.outbox_id limit %(limit)s
   for update of d skip locked
"""
SETTLE = """
update outbox_deliveries
   set attempts = %(attempts)s, next_attempt_at = %(next_attempt_at)s, delivered_at = %(delivered_at)s,
       error = %(error)s
 where outbox_id = %(outbox_id)s and channel = %(channel)s
"""
EXPIRE = """
delete from outbox o
 where o.created_at < %(before)s and o.message_id is not null
   and not exists (select from outbox_deliveries d where d.outbox_id = o.outbox_id and d.next_attempt_at is not null)
"""
WAITING = "select count(*) as waiting from outbox_deliveries where next_attempt_at is not null"


class Message(NamedTuple):
    """A message on its way to one channel."""

    outbox_id: int
    channel: str
    attempts: int
    kind: str
    key: str
    message_id: str
    payload: str


def channels(settings: Notify, kind: str) -> list[str]:
    """Who receives messages of a kind."""
    wanted = {
        "webhook": settings.webhook_url and kind not in settings.webhook_without,
        "email": settings.email_to and kind not in settings.email_without,
    }
    return [channel for channel, is_wanted in wanted.items() if is_wanted]


def identify(instance: str, kind: str, key: str) -> uuid.UUID:
    """A message's id: the same when a database that was restored from a backup tells the same again."""
    return uuid.uuid5(NAMESPACE, f"{instance}\n{kind}\n{key}")


def payload(instance: str, kind: str, at: datetime, data: str) -> str:
    """What is signed and sent; `data` is JSON."""
    body = {"type": kind, "timestamp": at, "instance": instance, "data": msgspec.Raw(data.encode())}
    return msgspec.json.encode(body).decode()


def decide(connection: pg.Connection, config: Config, now: datetime) -> int:
    """Decide who receives what was added since the last time; returns the number of those messages.

    A channel that is configured later receives later messages only.
    """
    rows = connection.execute(UNDECIDED).fetchall()
    for row in rows:
        decided = {
            "outbox_id": row["outbox_id"],
            "message_id": identify(config.instance, row["kind"], row["key"]),
            "payload": payload(config.instance, row["kind"], row["created_at"], row["data"]),
        }
        connection.execute(DECIDE, decided)
        receivers = channels(config.notify, row["kind"])
        connection.execute(ADDRESS, {"outbox_id": row["outbox_id"], "channels": receivers, "now": now})
    return len(rows)


def due(connection: pg.Connection, channel: str, now: datetime, *, limit: int | None) -> list[Message]:
    """The oldest messages whose time has come; nobody else gets them before the transaction ends."""
    rows = connection.execute(DUE, {"channel": channel, "now": now, "limit": limit}).fetchall()
    return [Message(**row | {"message_id": str(row["message_id"])}) for row in rows]


def settle(
    connection: pg.Connection, message: Message, *, error: str | None, now: datetime, next_attempt_at: datetime | None
) -> None:
    """Record an attempt: without an error it was taken; without a next attempt it is given up."""
    fields: dict[str, Any] = {
        "outbox_id": message.outbox_id,
        "channel": message.channel,
        "attempts": message.attempts + 1,
        "next_attempt_at": next_attempt_at,
        "delivered_at": now if error is None else None,
        "error": error,
    }
    connection.execute(SETTLE, fields)


def expire(connection: pg.Connection, now: datetime) -> None:
    """Forget what is old and settled."""
    connection.execute(EXPIRE, {"before": now - KEPT})


def waiting(connection: pg.Connection) -> int:
    """Number of messages that will be tried again, each counted for each of its receivers."""
    return int(pg.one(connection, WAITING)["waiting"])

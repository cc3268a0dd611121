"""Run: what is worth telling is collected, and what is due is sent; the only file that knows all the others."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from evothesis import pg
from evothesis.config import Config
from evothesis.notify import mail, queue, webhook
from evothesis.notify.collect import collect
from evothesis.notify.queue import Message
from evothesis.notify.schedule import Attempt, pause

log = logging.getLogger(__name__)

MAIL_MESSAGES_MAX = 100  # in one mail
BATCH = {"webhook": 1, "email": MAIL_MESSAGES_MAX}


class Sent(NamedTuple):
    """Messages that were tried together, what came of it, and which of them nobody took and nobody will get."""

    channel: str
    messages: list[Message]
    attempt: Attempt
    given_up: list[Message]


def run(config: Config, connection: pg.Connection, clock: Callable[[], datetime]) -> list[Sent]:
    """Collect what is worth telling, and send what is due; a channel whose receiver is away is left for the next run.

    A message is settled in the transaction that locks it: a run that dies leaves it as it was, to be sent again.
    """
    now = clock()
    with connection.transaction():
        prepare(config, connection, now)
        queue.expire(connection, now)
    tried: list[Sent] = []
    for channel in BATCH:
        while sent := _send_next(config, connection, channel, due_at=now, clock=clock):
            tried.append(sent)
            if sent.attempt.is_passing:
                break
    return tried


def prepare(config: Config, connection: pg.Connection, now: datetime) -> None:
    """Collect what is worth telling, and decide who receives what."""
    collect(connection, config, now)
    queue.decide(connection, config, now)


def preview(config: Config, connection: pg.Connection, now: datetime) -> list[Message]:
    """What a run would send now; nothing is changed."""
    with connection.transaction(force_rollback=True):
        prepare(config, connection, now)
        return [message for channel in BATCH for message in queue.due(connection, channel, now, limit=None)]


def test(config: Config, now: datetime) -> Iterator[tuple[str, Attempt]]:
    """Send a message of the kind `test` to each channel that is configured; what came of it."""
    for channel in queue.channels(config.notify, "test"):
        data = '{"sent_by":"evothesis usage notify --test"}'
        body = queue.payload(config.instance, "test", now, data)
        message = Message(0, channel, 0, "test", "", str(uuid.uuid4()), body)
        yield channel, _send(config, channel, [message], now)


def _send_next(
    config: Config, connection: pg.Connection, channel: str, *, due_at: datetime, clock: Callable[[], datetime]
) -> Sent | None:
    with connection.transaction():
        messages = queue.due(connection, channel, due_at, limit=BATCH[channel])
        if not messages:
            return None
        attempt = _send(config, channel, messages, clock())
        sent = Sent(channel, messages, attempt, [])
        for message in messages:
            wait = pause(message.attempts + 1, attempt, random.random()) if attempt.error else None  # noqa: S311 - no secret
            if attempt.error and wait is None:
                sent.given_up.append(message)
            next_attempt_at = clock() + wait if wait else None
            queue.settle(connection, message, error=attempt.error, now=clock(), next_attempt_at=next_attempt_at)
    _log(sent)
    return sent


def _send(config: Config, channel: str, messages: list[Message], now: datetime) -> Attempt:
    if channel == "webhook":
        return webhook.post(config.notify, messages[0].message_id, messages[0].payload.encode())
    return mail.send(config.notify, mail.compose(config.notify, config.instance, messages, now))


def _log(sent: Sent) -> None:
    fields = {"channel": sent.channel, "messages": [message.message_id for message in sent.messages]}
    if sent.given_up:
        log.error("Messages given up.", extra=fields | {"error": sent.attempt.error})
    elif sent.attempt.error:
        log.warning("Messages not taken.", extra=fields | {"error": sent.attempt.error})
    else:
        log.info("Messages sent.", extra=fields | {"answer": sent.attempt.answer})

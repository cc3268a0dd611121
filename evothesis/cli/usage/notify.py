"""`evothesis usage notify`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, print_error, shown, start
from evothesis.errors import ConfigurationError
from evothesis.migrate import require_current

if TYPE_CHECKING:
    from evothesis.config import Config
    from evothesis.notify.queue import Message
    from evothesis.notify.run import Sent
    from evothesis.notify.schedule import Attempt

AGAIN = "run the command again: a message is tried up to ten times within three days"
GIVEN_UP = "correct [notify], or the receiver; what was given up stays in the table outbox for 90 days"
UNTESTED = "correct [notify], or look at what the receiver says of it"


def command(
    config: ConfigPath = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent now; change nothing.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message, and say what came back.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Send what is worth telling to the webhook and by e-mail.

    Run it from a timer. It looks at the ledger and at the export, and sends what was not told yet; what was not taken
    is tried again later, up to ten times within three days. Two that run at once send different messages.

    \b
    Examples:
      evothesis usage notify
      evothesis usage notify --dry-run
      evothesis usage notify --test
    """
    settings = start(config)
    if test:
        _test(settings, form)
        return
    from evothesis.notify import queue
    from evothesis.notify.run import preview, run

    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="notify") as connection:
        require_current(connection)
        if dry_run:
            _print_preview(preview(settings, connection, datetime.now(UTC)), form)
            return
        tried = run(settings, connection, lambda: datetime.now(UTC))
        waiting = queue.waiting(connection)
    if form is Format.JSON:
        sent = [_as_json(message) | _outcome(batch, message) for batch in tried for message in batch.messages]
        print(json.dumps({"messages": sent, "waiting": waiting}))
    else:
        _print_run(tried, waiting)
    _fail([(batch.channel, batch.attempt, GIVEN_UP if batch.given_up else AGAIN) for batch in tried])


def _test(config: Config, form: Format) -> None:
    """Nothing of it is kept, so that no database is needed."""
    from evothesis.notify.run import test

    tried = list(test(config, datetime.now(UTC)))
    if not tried:
        message = "nothing is configured to receive messages"
        raise ConfigurationError(message, hint="set webhook_url, or email_to, in [notify]")
    if form is Format.JSON:
        answers = [{"channel": name, "answer": attempt.answer, "error": attempt.error} for name, attempt in tried]
        print(json.dumps({"test": answers}))
    else:
        for name, attempt in tried:
            if not attempt.error:
                print(f"{name}: {attempt.answer}")
    _fail([(channel, attempt, UNTESTED) for channel, attempt in tried])


def _fail(tried: list[tuple[str, Attempt, str]]) -> None:
    """Say why messages were not taken, each reason once, and end as the worst of them asks for."""
    from evothesis.notify.text import plain

    failed = [part for part in tried if part[1].error]
    reasons = {f"{channel}: {attempt.error}": attempt.hint or hint for channel, attempt, hint in failed}
    for reason, hint in reasons.items():
        print_error(plain(reason), hint)
    if failed:
        is_passing = all(attempt.is_passing and hint != GIVEN_UP for _, attempt, hint in failed)
        raise typer.Exit(3 if is_passing else 1)


def _as_json(message: Message) -> dict[str, Any]:
    return {"id": message.message_id, "kind": message.kind, "key": message.key, "channel": message.channel}


def _outcome(batch: Sent, message: Message) -> dict[str, Any]:
    error = batch.attempt.error
    state = "sent" if error is None else "given up" if message in batch.given_up else "waiting"
    return {"state": state, "error": error}


def _print_preview(messages: list[Message], form: Format) -> None:
    if form is Format.JSON:
        print(
            json.dumps(
                {"messages": [_as_json(message) | {"payload": json.loads(message.payload)} for message in messages]}
            )
        )
    elif messages:
        _print(messages, [message.channel for message in messages])
    else:
        print("Nothing to send.")


def _print_run(tried: list[Sent], waiting: int) -> None:
    messages = [message for batch in tried for message in batch.messages]
    states = [
        f"{message.channel}: {_outcome(batch, message)['state']}" for batch in tried for message in batch.messages
    ]
    if messages:
        _print(messages, states)
    else:
        print("Nothing to send.")
    if waiting:
        print(f"{waiting:,} waiting to be tried again.")


def _print(messages: list[Message], states: list[str]) -> None:
    from evothesis.notify.text import subject

    table = Table("message", "what", "to")
    table.columns[1].overflow = "fold"
    for message, state in zip(messages, states, strict=True):
        table.add_row(message.kind, shown(subject([message])), state)
    Console().print(table)

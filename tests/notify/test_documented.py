"""docs/notifications.md: every kind has an example, with the members that its messages have, and a text for people."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from evothesis.config import Config, Notify
from evothesis.notify.collect import collect
from evothesis.notify.queue import Message
from evothesis.notify.text import HEADLINES, letter, subject
from evothesis.setting import Kind
from tests.notify.ledger import Ledger

TEXT = (Path(__file__).parents[2] / "docs/notifications.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^\*\*`([a-z.]+)`\*\*: .*?^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES: dict[str, Any] = {kind: json.loads(example) for kind, example in EXAMPLE.findall(TEXT)}
NOW = datetime.now(UTC).replace(hour=9)
COLLECTED = {kind for kind in get_args(Kind) if kind.startswith(("usage.", "export."))}


def members(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The names in a JSON value, in their order, without what they hold."""
    if isinstance(value, list):
        return [members(value[0])] if value else []
    return {name: members(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def test_kinds() -> None:
    """Every kind has an example and a headline, and no other has."""
    assert set(get_args(Kind)) == set(EXAMPLES) == set(HEADLINES) - {"test"}


def test_members(ledger: Ledger) -> None:
    """Messages have the members of the example, in its order."""
    yesterday: date = (NOW - timedelta(days=1)).date()
    ledger.add_days("a.example", yesterday - timedelta(days=1), [1_000] * 28)
    ledger.add_days("b.example", yesterday, [9_000])
    ledger.wait_for_export(datetime.now(UTC) - timedelta(hours=9), 12)  # PostgreSQL has a clock of its own
    ledger.fail_export(3, NOW)
    notify = Notify(budget=Decimal("0.01"), thresholds=(50,))
    collect(ledger.connection, Config(notify=notify), NOW)
    found = {message["kind"]: members(message["data"]) for message in ledger.messages()}

    assert {kind: members(EXAMPLES[kind]) for kind in COLLECTED} == found
    assert [list(found[kind]) for kind in sorted(found)] == [list(EXAMPLES[kind]) for kind in sorted(found)]


def test_text() -> None:
    """Every example can be told in a mail, whose lines are no longer than a narrow window is wide."""
    for kind, data in EXAMPLES.items():
        message = Message(0, "email", 0, kind, "", "id", json.dumps({"type": kind, "data": data}))
        assert max(len(line) for line in letter([message]).splitlines()) <= 100, kind
        assert len(subject([message])) <= 78, kind

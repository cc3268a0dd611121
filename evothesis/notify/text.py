"""Text: messages in, what a person reads in a mail or on a terminal out. Pure.

A kind has a headline and, where it is of use, what to do about it; the facts below are those of the payload.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

from evothesis.notify.queue import Message

HEADLINES = {
    "usage.daily": "{events:,} events on {day}",
    "usage.threshold": "{month} has reached {percent} % of {of}",
    "usage.spike": "{events:,} events on {day}, where {usual_events:,} are usual",
    "usage.silence": "{sites_total:,} sites sent nothing on {day}",
    "site.discovered": "first event of {site_id}",
    "invoice.closed": "the invoice of {month} is closed",
    "export.late": "export to {destination} is late",
    "export.failed": "export to {destination} fails",
    "test": "this is a test",
}
ADVICE = {
    "usage.spike": "A campaign, or somebody who sends what is none of yours?",
    "usage.silence": "Is the tag still on their pages? They had events on each of the seven days before.",
    "site.discovered": "If it is none of yours, name yours in [limits] sites.",
    "export.late": "`evothesis export status` says what keeps it.",
    "export.failed": "`evothesis export status` says what to do.",
}


def headline(kind: str, data: Mapping[str, Any]) -> str:
    """One line: what happened."""
    return _Plain().vformat(HEADLINES[kind], (), data)


def subject(messages: Sequence[Message]) -> str:
    """What a mail with these messages is about."""
    first = headline(messages[0].kind, _data(messages[0]))
    return first if len(messages) == 1 else f"{first}, and {len(messages) - 1:,} more"


def letter(messages: Sequence[Message]) -> str:
    """The body of a mail with these messages."""
    return "\n\n".join("\n".join(_section(message)) for message in messages) + "\n"


def plain(text: str) -> str:
    """Text that a stranger chose, in one line and without control characters."""
    return "".join(part if part.isprintable() else repr(part)[1:-1] for part in text)


class _Plain(Formatter):
    """Puts values into a headline; numbers in groups of three, all else without control characters."""

    def format_field(self, value: Any, format_spec: str) -> str:  # noqa: ANN401 - any JSON value
        return format(value, format_spec) if isinstance(value, int) else plain(str(value))


def _data(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(message.payload)["data"]
    return data


def _section(message: Message) -> Iterator[str]:
    data = _data(message)
    title = headline(message.kind, data)
    yield title[:1].upper() + title[1:]
    yield ""
    yield from _facts(data, "  ")
    if message.kind in ADVICE:
        yield ""
        yield ADVICE[message.kind]


def _facts(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A line for each fact; what is inside another stands below it, further in."""
    width = max((len(name) for name in data), default=0)
    for name, value in data.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            yield f"{indent}{label}"
            yield from _facts(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{label}"
            for part in value:
                yield f"{indent}  {'  '.join(_fact(inner) for inner in part.values())}"
        else:
            yield f"{indent}{label:<{width}}  {_fact(value)}"


def _fact(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else plain(str(value))

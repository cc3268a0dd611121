"""Events: a seed in, requests that look like a browser's and hold what breaks programs out. Deterministic."""

from __future__ import annotations

import gzip
import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

BATCH_EVENTS = 10
SINGLE_SHARE = 0.1  # of requests: one event without an envelope
REPEAT_SHARE = 0.02  # of batches: one member stands in it twice
INVALID_SHARE = 0.01  # of events: cannot be accepted
BROKEN_SHARE = 0.01  # of requests: cannot be read at all
GZIP_SHARE = 0.2
PAYLOADS = 64  # different ones; each event carries its own mark beside them
TIME = datetime(2026, 1, 1, tzinfo=UTC)  # of the first event: the sender's clock is not the server's

SITES = ("shop.example.com", "news.example.org", "xn--bcher-kva.example", "café du coin", "a" * 100)
TYPES = ("pageview", "click", "scroll", "custom.event", "\N{SNOWMAN}")
TEXTS = (
    "",
    " ",
    "plain",
    'a "quoted" word',
    "it's; -- drop table events_log",
    "back\\slash \\N \\. \\\\ \\t \\u0041",
    "tab\there, line\nend, return\rtoo, both\r\n",
    "\x01\x02\x07\x1b[31m\x1f\x7f",
    "a,b;c|d",
    "=1+1",
    "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}\N{WOMAN}",
    "e\N{COMBINING ACUTE ACCENT} \N{LATIN SMALL LETTER E WITH ACUTE}",
    "\N{HEBREW LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}\N{NO-BREAK SPACE}",
    "\N{BYTE ORDER MARK}\N{REPLACEMENT CHARACTER}\U0010fffd",
    "</script><!-- {{7*7}} ${x} %s {0}",
    "null",
    "{}",
    "2026-02-30",
    "x" * 600,
)
NUMBERS = (0, -1, 1, 2**53 - 1, -(2**31), 2**63 - 1, 0.5, -0.25, 19.99, 1e21, 1e-7, 123456.789)


class Request(NamedTuple):
    """One request: its body, and which events it holds (marks, in the order of the body; one may stand there twice)."""

    number: int
    body: bytes
    headers: dict[str, str]
    marks: list[str]
    invalid: list[str]  # of `marks`, those that must be refused
    text: str | None  # the body as JSON; None when it is none


class Events:
    """An endless row of requests; the same seed gives the same row."""

    def __init__(self, seed: int) -> None:
        """Nothing was made yet."""
        self.seed = seed
        self._payloads = [_payload(random.Random(f"{seed} payload {number}")) for number in range(PAYLOADS)]
        self._requests = 0
        self._events = 0

    def next_request(self, *, events_max: int = BATCH_EVENTS) -> Request:
        """Make the next request, of at most `events_max` new events."""
        chance = random.Random(f"{self.seed} request {self._requests}")
        is_single = events_max == 1 or chance.random() < SINGLE_SHARE
        made = [self._event(chance) for _ in range(1 if is_single else events_max)]
        invalid = [mark for mark, _, is_valid in made if not is_valid]
        if is_single:
            mark, event, _ = made[0]
            document = event if isinstance(event, str) else _context(chance) | event
            marks = [mark]
        else:
            if chance.random() < REPEAT_SHARE:
                made.append(made[0])
            marks = [mark for mark, _, _ in made]
            document = {
                "eventType": "batch",
                "batchId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "sentAt": _time(self._events).isoformat(),
                **_context(chance),
                "events": [event for _, event, _ in made],
            }
        text = json.dumps(document, ensure_ascii=chance.random() < 0.5)
        body = text.encode()
        headers = {"Content-Type": chance.choice(("application/json", "text/plain;charset=UTF-8"))}
        is_broken = chance.random() < BROKEN_SHARE
        if is_broken:
            body, invalid = body[:-1], marks
        if chance.random() < GZIP_SHARE:
            body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
        self._requests += 1
        return Request(self._requests, body, headers, marks, invalid, None if is_broken else text)

    def _event(self, chance: random.Random) -> tuple[str, Any, bool]:
        """One event with its mark, and whether it can be accepted."""
        mark = f"e{self.seed}n{self._events}"
        moment = _time(self._events)
        self._events += 1
        event: dict[str, Any] = {
            "eventType": chance.choice(TYPES),
            "eventId": _time_ordered_id(moment, chance),
            "timestamp": moment.isoformat() if chance.random() < 0.5 else int(moment.timestamp() * 1000),
            "mark": mark,
            "data": chance.choice(self._payloads),
        }
        if chance.random() < 0.7:
            event["url"] = (
                f"https://shop.example.com/{chance.choice(('', 'a/b', 'caf%C3%A9'))}?q={chance.getrandbits(32):x}#top"
            )
            event["path"] = "/" + chance.choice(TEXTS)[:400]
        if chance.random() < 0.1:
            event["siteId"] = chance.choice(SITES)
        if chance.random() < 0.05:
            del event["eventId"]  # the server makes one from the content, the same for the same content
        if chance.random() >= INVALID_SHARE:
            return mark, event, True
        fault = chance.choice(("eventType", "timestamp", "eventId", "sessionId", "all"))
        if fault == "all":
            return mark, mark, False
        return mark, event | {fault: {"eventType": None, "sessionId": 7}.get(fault, "no such thing")}, False


def _context(chance: random.Random) -> dict[str, str]:
    """What a page says once for all of its events."""
    return {
        "siteId": chance.choice(SITES),
        "sessionId": f"session {chance.randrange(1000)} {chance.choice(TEXTS)[:50]}",
        "visitorId": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    }


def _payload(chance: random.Random, *, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    kind = chance.random()
    if depth == 0 or (depth < 5 and kind < 0.25):
        return {
            chance.choice(TEXTS)[:30] + str(number): _payload(chance, depth=depth + 1)
            for number in range(chance.randrange(6))
        }
    if depth < 5 and kind < 0.4:
        return [_payload(chance, depth=depth + 1) for _ in range(chance.randrange(4))]
    if kind < 0.8:
        return chance.choice(TEXTS)
    return chance.choice((*NUMBERS, True, False, None))


def _time(number: int) -> datetime:
    return TIME + timedelta(milliseconds=number)


def _time_ordered_id(moment: datetime, chance: random.Random) -> str:
    """A UUID of version 7: 48 bits of milliseconds, then chance (RFC 9562)."""
    value = int(moment.timestamp() * 1000) << 80 | chance.getrandbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))

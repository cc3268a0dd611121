"""Targets: bytes in, nothing out; each raises when the code under test breaks a promise that it makes for any input.

atheris finds inputs for them (`python -m tests.fuzz TARGET`); those in `corpus/TARGET` are tried whenever tests run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from evothesis.collector import privacy
from evothesis.collector.decode import EVENTS_MAX, EnvelopeError, EventError, decode
from evothesis.collector.intake import Request, take
from evothesis.collector.parse import parse
from evothesis.collector.policy import Policy
from evothesis.config import Privacy
from evothesis.configuration import load
from evothesis.errors import ConfigurationError
from evothesis.event import COLUMNS, Event, Json, decode_entry, encode_entry, encode_json
from evothesis.spool import frame
from tests.collector.copy_text import columns, texts

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
SEGMENT_NO = 7
IP: tuple[Literal["truncate", "full", "hash", "none"], ...] = ("truncate", "full", "hash", "none")
SIGNALS: tuple[Literal["drop", "anonymise", "ignore"], ...] = ("drop", "anonymise", "ignore")
POLICIES = [Policy(Privacy(ip=ip, signals=signals)) for ip in IP for signals in SIGNALS]
LOSSLESS = Privacy(fields_redacted=("loyaltyNumber",), fields_kept=("sku",))
PARTS = b"\xff\xfe"  # between the parts of an input that has several; no text in UTF-8 has it


def strictly(data: bytes) -> Json:
    """JSON that every reader takes: no NaN, no infinity, no NUL and no half of a pair."""

    def refuse(what: str) -> NoReturn:
        raise AssertionError(what)

    value = json.loads(data.decode(), parse_constant=refuse)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert b"\\u0000" not in json.dumps(value).replace("\\\\", "").encode()
    return value


def decoding(data: bytes) -> None:
    """A body has events that are JSON by themselves, or is refused as a whole."""
    refusal = None
    try:
        members = decode(data).members
    except EnvelopeError as error:
        refusal = error
    if refusal:
        assert refusal.status in (400, 413)
        json.dumps([refusal.code, refusal.message], ensure_ascii=False).encode()
        return
    assert 1 <= len(members) <= EVENTS_MAX
    for member in members:
        member.decode()


def parsing(data: bytes) -> None:
    """An event has columns that PostgreSQL can hold, or is refused alone."""
    with suppress(EnvelopeError):
        members, inherited, _ = decode(data)
        for member in members:
            with suppress(EventError, msgspec.DecodeError):
                _check(parse(member, inherited, received_at=AT, page="https://page.example/"))


def _check(event: Event) -> None:
    assert 32 == len(bytes.fromhex(event.event_id)) * 2
    assert 1 <= len(event.event_type) <= 50
    assert 1 <= len(event.site_id) <= 100
    assert len(event.path or "") <= 500
    moment = datetime.fromisoformat(event.timestamp)
    assert 1900 <= moment.year < 9000
    for text in (event.event_type, event.session_id, event.visitor_id, event.site_id, event.url, event.path):
        (text or "").encode()


def taking(data: bytes) -> None:
    """What is kept of a request can be stored; what is answered is true; nothing else happens."""
    body, *headers = data.split(PARTS)
    said = dict(zip(("choice", "agent", "page", "peer"), headers, strict=False))
    choice = sum(said.get("choice", b""))
    policy = POLICIES[choice % len(POLICIES)]
    encoding, refuses = ("gzip", "", "", "")[choice // 16 % 4], bool(choice // 64 % 2)
    agent, page, peer = (
        said[name].decode("utf-8", "replace").replace("\0", "\ufffd") if name in said else None
        for name in ("agent", "page", "peer")
    )
    request = Request(AT, body, encoding=encoding, peer=peer, user_agent=agent, page=page, refuses=refuses)
    try:
        entry, answer = take(request, policy, salt=b"salt")
    except EnvelopeError:
        return
    msgspec.json.encode(answer)
    assert len(entry.rows) == answer["accepted"]
    assert entry == decode_entry(encode_entry(entry))
    assert refuses == ("withheld" in answer)
    for row in entry.rows:
        found = columns(row.line)
        strictly((texts(row.line)[COLUMNS.index("raw_event_data")] or "").encode())
        assert found["site_id"] == row.site_id
        assert not any("\0" in value for value in found.values() if isinstance(value, str))
    assert len(entry.rejected) == len(answer["rejected"])
    for rejected in entry.rejected:
        assert not any("\0" in value for value in texts(rejected.line) if value)
    assert not any("\0" in site or len(site) > 100 for site in entry.withheld)


def redacting(data: bytes) -> None:
    """What is clean stays as it is, JSON keeps its shape, and one look at the JSON sees whatever must be cleaned."""
    rules = privacy.rules(LOSSLESS)
    text = data.decode("utf-8", "replace")
    cleaned = rules.cleaned_text(text)
    assert cleaned == rules.cleaned_text(cleaned)
    data = text.encode()
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        value = {"text": text, text: ["x", text]}
        data = json.dumps(value, ensure_ascii=False).encode()
    with suppress(RecursionError):  # depth is refused before
        once = rules.cleaned(value)
        assert once == rules.cleaned(once)
        assert rules.needs_care(data) or encode_json(once) == encode_json(value)


def framing(data: bytes) -> None:
    """A segment is sound frames, each as it was written, and damage; together they are all of it."""
    size = next_row = 0
    for part in frame.decode(data, segment_no=SEGMENT_NO):
        if isinstance(part, frame.Frame):
            encoded = frame.encode(part, segment_no=SEGMENT_NO)
            content_at = size + len(frame.MAGIC)  # what is written has the newest version
            assert encoded[len(frame.MAGIC) :] == data[content_at : size + len(encoded)]
            assert part.first_row >= next_row
            next_row = part.first_row + part.rows
            size += len(encoded)
        else:
            assert part.offset == size
            assert part.size_bytes > 0
            frame.has_whole_frame(data[part.offset : part.offset + part.size_bytes])
            size += part.size_bytes
    assert size == len(data)
    frame.is_newer(data)


def configuring(data: bytes) -> None:
    """A configuration file and an environment are understood, or the one to blame is told what is wrong."""
    text, *variables = data.split(PARTS)
    environment = {}
    for variable in variables:
        name, _, value = variable.decode("utf-8", "surrogateescape").partition("=")
        environment[f"EVOTHESIS_{name}"] = value
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(text)
        file.flush()
        with suppress(ConfigurationError):
            repr(load(Path(file.name), environment))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "decode": decoding,
    "parse": parsing,
    "take": taking,
    "privacy": redacting,
    "frame": framing,
    "configuration": configuring,
}

"""Intake: one request in; what is kept of it, and what its sender is told, out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from evothesis.collector.decode import EnvelopeError
from evothesis.collector.intake import EVENT_BYTES_MAX, REJECTED_LENGTH_MAX, Request, Taken, take
from evothesis.config import Privacy
from evothesis.event import Json
from tests.collector.copy_text import columns, stored, texts

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
CLICK = {"eventType": "click", "siteId": "shop.example", "sessionId": "s1", "visitorId": "v1"}
DROP, ANONYMISE, IGNORE = Privacy(signals="drop"), Privacy(signals="anonymise"), Privacy(signals="ignore")


def request(document: Json, **fields: Any) -> Request:  # noqa: ANN401 - the fields of Request
    """A request with a JSON body."""
    return Request(AT, json.dumps(document).encode(), **fields)


def taken(document: Json, settings: Privacy | None = None, **fields: Any) -> Taken:  # noqa: ANN401 - as above
    """What becomes of a request."""
    return take(request(document, **fields), settings or Privacy(), salt=b"a salt of sixteen")


def test_what_is_kept() -> None:
    """An event's row has what the event says, and what the request says of its sender."""
    (row,) = stored(request(CLICK, peer="192.0.2.123", user_agent="Mozilla/5.0"))

    del row["event_id"]
    assert {
        "created_at": "2026-11-22T09:00:00+00:00",
        "event_type": "click",
        "session_id": "s1",
        "visitor_id": "v1",
        "site_id": "shop.example",
        "timestamp": "2026-11-22T09:00:00+00:00",
        "url": None,
        "path": None,
        "user_agent": "Mozilla/5.0",
        "ip_address": "192.0.2.0",
        "raw_event_data": CLICK,
    } == row


def test_answer() -> None:
    """The sender is told how many were accepted, and of each refused one its place, a code and a reason."""
    batch = {"eventType": "batch", "events": [CLICK, 7, CLICK | {"timestamp": "now"}, CLICK]}
    answer = taken(batch).answer

    assert (2, 0) == (answer["accepted"], answer["duplicate"])
    assert [(1, "event_invalid"), (2, "timestamp_invalid")] == [(r["index"], r["code"]) for r in answer["rejected"]]
    assert [] == [refusal for refusal in answer["rejected"] if not refusal["message"]]


def test_event_size() -> None:
    """An event may have 32 KiB as JSON; a larger one is refused alone."""
    largest, larger = ({"eventType": "a", "siteId": "s", "n": "x" * size} for size in (32_731, 32_732))
    entry, answer = taken({"eventType": "batch", "events": [larger, largest]})

    assert [EVENT_BYTES_MAX] == [row.size_bytes for row in entry.rows]
    assert [(0, "event_too_large")] == [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]]


def test_refused_event_is_kept() -> None:
    """A refused event is kept for repair: redacted, cut, with its site and the reason."""
    refused = {"eventType": "click", "siteId": "shop.example", "timestamp": "now", "a": "jane@example.com"}
    entry, _ = taken(refused | {"b": "x" * 9_000})
    at, site, code, message, event = texts(entry.rejected[0].line)

    assert ("2026-11-22T09:00:00+00:00", "shop.example", "timestamp_invalid") == (at, site, code)
    assert message
    assert event is not None
    assert event.startswith(json.dumps(refused | {"a": "[redacted]"}, separators=(",", ":"))[:-1])
    assert REJECTED_LENGTH_MAX == len(event)


@pytest.mark.parametrize(
    ("event", "page", "expected"),
    [
        ({"siteId": "shop.example"}, "https://page.example/", "shop.example"),
        ({}, "https://page.example/", "page.example"),
        ({"siteId": 7}, "https://page.example/", "page.example"),
        ("text", None, None),
        ({"siteId": "x" * 101}, None, "x" * 100),
    ],
)
def test_refused_event_has_a_site(event: Json, page: str | None, expected: str | None) -> None:
    """A refused event is counted for the site that it names, else for that of the page."""
    entry, _ = taken({"eventType": "batch", "events": [event]}, page=page)

    assert [expected] == [refused.site_id for refused in entry.rejected]


def test_refused_event_of_a_long_page() -> None:
    """A page's host, however long, does not become a site that no index can hold."""
    entry, _ = taken({"eventType": ""}, page=f"https://{'x' * 8_000}/")

    assert [] == [refused.site_id for refused in entry.rejected if len(refused.site_id or "") > 100]


def test_drop() -> None:
    """Of a visitor who refuses nothing is kept but how many events each site was not given."""
    batch = {"eventType": "batch", "events": [CLICK, CLICK, CLICK | {"siteId": "other.example"}, 7]}
    entry, answer = taken(batch, DROP, refuses=True, peer="192.0.2.1", user_agent="Mozilla/5.0")

    assert ([], [], {"shop.example": 2, "other.example": 1}) == (entry.rows, entry.rejected, entry.withheld)
    assert {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": 3} == answer


def test_anonymise() -> None:
    """Of a visitor who refuses, events are kept without anything that tells one from another."""
    batch = {"eventType": "batch", **CLICK, "events": [{"eventType": "click"}, CLICK]} | {"eventType": "batch"}
    entry, answer = taken(batch, ANONYMISE, refuses=True, peer="192.0.2.1", user_agent="Mozilla/5.0")
    rows = [columns(row.line) for row in entry.rows]

    identity = ("session_id", "visitor_id", "ip_address", "user_agent")
    assert [dict.fromkeys(identity)] * 2 == [{name: row[name] for name in identity} for row in rows]
    expected = [{"eventType": "click"}, {"eventType": "click", "siteId": "shop.example"}]
    assert expected == [row["raw_event_data"] for row in rows]
    assert (2, 0, {}) == (answer["accepted"], answer["withheld"], entry.withheld)


def test_ignore() -> None:
    """Where signals are ignored, by decision of the operator, all is kept and nothing withheld."""
    asked = request(CLICK, refuses=True, peer="192.0.2.1", user_agent="Mozilla/5.0")

    assert stored(asked._replace(refuses=False)) == stored(asked, IGNORE)
    assert 0 == take(asked, IGNORE, salt=b"").answer["withheld"]


@pytest.mark.parametrize("settings", [DROP, ANONYMISE, IGNORE], ids=lambda settings: settings.signals)
def test_no_signal(settings: Privacy) -> None:
    """Without a signal the setting means nothing, and the answer speaks of none."""
    entry, answer = taken(CLICK, settings)

    assert (["s1"], {}) == ([columns(row.line)["session_id"] for row in entry.rows], entry.withheld)
    assert {"accepted": 1, "duplicate": 0, "rejected": []} == answer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(None, None), ("", None), ("Mozilla/5.0 (ä)", "Mozilla/5.0 (ä)"), ("x" * 2_000, "x" * 1_024)],
    ids=["none", "empty", "letters", "long"],
)
def test_user_agent(sent: str | None, expected: str | None) -> None:
    """A user agent is kept, of 1,024 characters at most."""
    assert [expected] == [row["user_agent"] for row in stored(request(CLICK, user_agent=sent))]


@pytest.mark.parametrize(("levels", "expected"), [(30, 1), (31, "json_too_deep"), (900, "json_too_deep")])
@pytest.mark.parametrize("text", ["harmless", "jane@example.com", "NUL \0"])
def test_depth(levels: int, expected: object, text: str) -> None:
    """A body of 32 levels is kept, a deeper one refused, whatever else must be done to it."""
    event = '{"eventType":"click","siteId":"s","text":' + json.dumps(text) + ',"n":{"a":' + "[" * levels + "]" * levels
    try:
        actual: object = len(stored(Request(AT, (event + "}}").encode())))
    except EnvelopeError as error:
        actual = error.code

    assert expected == actual

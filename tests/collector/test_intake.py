"""Intake: one request in; what is kept of it, and what its sender is told, out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evothesis.collector.intake import Taken, take
from evothesis.collector.policy import Policy
from evothesis.config import Privacy
from evothesis.event import Json
from tests.collector.copy_text import AT, SALT, columns, outcome, request, stored, texts

CLICK = {"eventType": "click", "siteId": "shop.example", "sessionId": "s1", "visitorId": "v1"}
DROP, ANONYMISE, IGNORE = Privacy(signals="drop"), Privacy(signals="anonymise"), Privacy(signals="ignore")
EVENT_BYTES_MAX = 32_768
REJECTED_LENGTH_MAX = 4_096


def taken(document: Json, settings: Privacy | None = None, **fields: Any) -> Taken:  # noqa: ANN401 - the fields of Request
    """What becomes of a request."""
    return take(request(document, **fields), Policy(settings), salt=SALT)


def test_sender() -> None:
    """A row has, beside the event, what the request says of its sender."""
    (row,) = stored(CLICK, peer="192.0.2.123", user_agent="Mozilla/5.0")

    assert (AT, "Mozilla/5.0", "192.0.2.0") == (row["created_at"], row["user_agent"], row["ip_address"])


def test_answer() -> None:
    """The sender is told how many were accepted, and of each refused one its place, a code and a reason."""
    batch = {"eventType": "batch", "events": [CLICK, 7, CLICK | {"timestamp": "now"}, CLICK]}
    answer = taken(batch).answer

    assert (2, 0) == (answer["accepted"], answer["duplicate"])
    assert [(1, "event_invalid"), (2, "timestamp_invalid")] == [(r["index"], r["code"]) for r in answer["rejected"]]
    assert [] == [refusal for refusal in answer["rejected"] if not refusal["message"]]


def of_size(size_bytes: int) -> dict[str, Json]:
    """An event of so many bytes as JSON without spaces."""
    empty = {"eventType": "a", "siteId": "s", "n": ""}
    return empty | {"n": "x" * (size_bytes - len(json.dumps(empty, separators=(",", ":"))))}


def test_nul_in_a_batch() -> None:
    """NUL in what a batch says for its events, which no column can hold, becomes U+FFFD as in theirs."""
    names = {"siteId": "site_id", "sessionId": "session_id", "visitorId": "visitor_id", "url": "url", "path": "path"}
    batch = {"eventType": "batch", **dict.fromkeys(names, "a\0b"), "events": [{"eventType": "click"}, {"n": 1}]}
    entry, _ = taken(batch)

    (row,), (refused,) = entry.rows, entry.rejected
    assert dict.fromkeys(names.values(), "a\ufffdb") == {name: columns(row.line)[name] for name in names.values()}
    assert ["a\ufffdb"] * 3 == [row.site_id, refused.site_id, texts(refused.line)[1]]


def test_event_size() -> None:
    """An event may have 32 KiB as JSON; a larger one is refused alone."""
    events = [json.dumps(of_size(size), separators=(",", ":")) for size in (EVENT_BYTES_MAX + 1, EVENT_BYTES_MAX)]
    batch = '{"eventType":"batch","events":[' + ",".join(events) + "]}"
    entry, answer = take(request(batch.encode()), Policy(), salt=SALT)

    assert [EVENT_BYTES_MAX] == [row.size_bytes for row in entry.rows]
    assert [(0, "event_too_large")] == [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]]
    assert "event_too_large" == outcome(of_size(EVENT_BYTES_MAX + 1))


def test_refused_event_is_kept() -> None:
    """A refused event is kept for repair: redacted, cut, with its site and the reason."""
    refused = {"eventType": "click", "siteId": "shop.example", "timestamp": "now", "a": "jane@example.com"}
    entry, _ = taken(refused | {"b": "x" * 9_000})
    at, site, code, message, event = texts(entry.rejected[0].line)

    assert (AT.isoformat(), "shop.example", "timestamp_invalid") == (at, site, code)
    assert message
    assert event is not None
    assert event.startswith(json.dumps(refused | {"a": "[redacted]"}, separators=(",", ":"))[:-1])
    assert REJECTED_LENGTH_MAX == len(event)


@pytest.mark.parametrize(
    "more",
    [{"n": "x" * EVENT_BYTES_MAX}, {f"m{n}": n for n in range(1_100)}, {"n": json.loads("[" * 40 + "]" * 40)}],
    ids=["large", "many", "deep"],
)
def test_refused_event_is_known(more: dict[str, Json]) -> None:
    """Of an event that is beyond the limits its known members are kept, if they are small, and redacted."""
    refused = {"eventType": "click", "siteId": "shop.example", "url": "https://x.example/?email=jane@example.com"}
    entry, _ = taken(refused | {"path": "x" * 5_000} | more)

    kept = refused | {"url": "https://x.example/?email=[redacted]"}
    assert [kept] == [json.loads(texts(one.line)[-1] or "") for one in entry.rejected]


def test_much_for_many() -> None:
    """What a batch says for its events is bounded, also by how many have it; a small body makes no large frame."""
    many = {"eventType": "batch", "events": [{"eventType": "a", "siteId": "s"}] * 1_000}
    said = {"url": "https://x.example/" + "y" * 8_000}, {"more": "x" * 8_000}, {"more": "x" * 33_000}

    assert [(413, "batch_too_large")] * 3 == [outcome(many | one) for one in said]
    assert {"eventType": "a", "siteId": "s", "more": "x"} == outcome(many | {"more": "x", "events": many["events"][:1]})


@pytest.mark.parametrize(
    ("event", "page", "expected"),
    [
        ({"siteId": "shop.example"}, "https://page.example/", "shop.example"),
        ({}, "https://page.example/", "page.example"),
        ({"siteId": 7}, "https://page.example/", "page.example"),
        ("text", None, None),
        ({"siteId": "x" * 101}, None, "x" * 100),
        ({"siteId": "jane@example.com"}, None, "[redacted]"),
        ({}, f"https://{'x' * 8_000}/", "x" * 100),
        ({}, "https://jane%40example.com/", None),
    ],
    ids=["own", "page", "no text", "none", "long", "personal", "long page", "personal page"],
)
def test_refused_event_has_a_site(event: Json, page: str | None, expected: str | None) -> None:
    """A refused event is counted for the site that it names, else for that of the page, of 100 characters at most."""
    entry, _ = taken({"eventType": "batch", "events": [event]}, page=page)

    assert [expected] == [refused.site_id for refused in entry.rejected]


def test_drop() -> None:
    """Of a visitor who refuses nothing is kept but how many events each site was not given."""
    batch = {"eventType": "batch", "events": [CLICK, CLICK, CLICK | {"siteId": "other.example"}, 7]}
    entry, answer = taken(batch, DROP, refuses=True, peer="192.0.2.1", user_agent="Mozilla/5.0")

    assert ([], [], {"shop.example": 2, "other.example": 1}) == (entry.rows, entry.rejected, entry.withheld)
    assert {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": 3} == answer


def test_anonymise() -> None:
    """Of a visitor who refuses, events are kept without anything that tells one from another."""
    batch = {"eventType": "batch", "siteId": "shop.example", "sessionId": "s1", "visitorId": "v1"}
    members = [{"eventType": "click"}, CLICK | {"n": 1}]
    entry, answer = taken(batch | {"events": members}, ANONYMISE, refuses=True, peer="192.0.2.1", user_agent="Mozilla")
    rows = [columns(row.line) for row in entry.rows]

    identity = ("session_id", "visitor_id", "ip_address", "user_agent")
    assert [dict.fromkeys(identity)] * 2 == [{name: row[name] for name in identity} for row in rows]
    expected = [{"eventType": "click"}, {"eventType": "click", "siteId": "shop.example", "n": 1}]
    assert expected == [row["raw_event_data"] for row in rows]
    assert (2, 0, {}) == (answer["accepted"], answer["withheld"], entry.withheld)


def test_anonymise_refused_event() -> None:
    """A refused event of a visitor who refuses is kept without identity too, if it is kept at all."""
    entry, _ = taken(CLICK | {"timestamp": "now"}, ANONYMISE, refuses=True)

    assert [] == [text for refused in entry.rejected for text in texts(refused.line) if '"s1"' in (text or "")]


def test_ignore() -> None:
    """Where signals are ignored, by decision of the operator, all is kept and nothing withheld."""
    kept = [stored(CLICK, IGNORE, refuses=refuses, peer="192.0.2.1", user_agent="Mozilla") for refuses in (False, True)]

    assert kept[0] == kept[1]
    assert ["s1"] == [row["session_id"] for row in kept[1]]
    assert 0 == taken(CLICK, IGNORE, refuses=True).answer["withheld"]


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
    assert [expected] == [row["user_agent"] for row in stored(CLICK, user_agent=sent)]


@pytest.mark.parametrize("neighbour", [{"n": 1}, {"n": "jane@example.com"}, {"n": "\0"}], ids=["plain", "mail", "NUL"])
@pytest.mark.parametrize(
    "event", ['{"eventType": "a" ,"siteId":"s","n":1.50}', '{"eventType":"a","siteId":"s","n":"\\/"}']
)
def test_retry_beside_others(event: str, neighbour: dict[str, Json]) -> None:
    """An event is the same one whatever it is sent with: its fingerprint and derived id do not change."""
    batch = '{"eventType":"batch","events":[' + event + "," + json.dumps(CLICK | neighbour) + "]}"
    alone, beside = (take(request(body.encode()), Policy(), salt=SALT).entry.rows[0] for body in (event, batch))

    assert (alone.key, alone.fingerprint) == (beside.key, beside.fingerprint)

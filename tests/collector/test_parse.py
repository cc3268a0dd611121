"""Parse: a request's JSON in; its events' columns, and the reasons for those that are refused, out."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest

from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.event import Json
from tests.collector.copy_text import AT, SALT, Row, outcome, request, stored

CLICK = {"eventType": "click", "siteId": "shop.example"}
EVENTS_MAX = 1_000


def one(members: dict[str, Json], page: str | None = None) -> Row:
    """The columns of an event with these members, else of a click."""
    (row,) = stored(CLICK | members, page=page)
    return row


def code(member: Json) -> object:
    """The code with which one event of a batch is refused."""
    return outcome({"eventType": "batch", "events": [member]})


def test_single_event() -> None:
    """One event: each known member has its field, and all of it is kept as it was sent."""
    document = CLICK | {
        "eventId": "0193F5D0-7E1C-7A4B-9A53-0123456789AB",
        "timestamp": "2026-11-22T08:59:59.5Z",
        "sessionId": "s1",
        "visitorId": "v1",
        "url": "https://shop.example/a?b=c",
        "path": "/a",
        "data": {"deep": [1, {"x": None}]},
        "unknown": True,
    }
    (row,) = stored(document)

    assert uuid.UUID("0193f5d0-7e1c-7a4b-9a53-0123456789ab") == uuid.UUID(row.pop("event_id"))
    expected = {
        "created_at": AT,
        "event_type": "click",
        "session_id": "s1",
        "visitor_id": "v1",
        "site_id": "shop.example",
        "timestamp": AT - timedelta(seconds=0.5),
        "url": "https://shop.example/a?b=c",
        "path": "/a",
        "user_agent": None,
        "ip_address": None,
        "raw_event_data": document,
    }
    assert expected == {name: row[name] for name in expected}


def test_batch_inherits() -> None:
    """An event of a batch has what the batch says, unless it says so itself."""
    batch = {
        "eventType": "batch",
        "siteId": "shop.example",
        "sessionId": "s1",
        "visitorId": "v1",
        "url": "https://shop.example/a",
        "path": "/a",
        "timestamp": "2026-11-22T08:00:00Z",
        "events": [
            {"eventType": "click"},
            {
                "eventType": "scroll",
                "siteId": "other.example",
                "sessionId": "s2",
                "visitorId": "v2",
                "url": "https://other.example/b",
                "path": "/b",
                "timestamp": "2026-11-22T08:30:00Z",
            },
        ],
    }
    names = ("event_type", "site_id", "session_id", "visitor_id", "url", "path", "timestamp")
    inheriting, own = [tuple(row[name] for name in names) for row in stored(batch)]

    hours = AT - timedelta(hours=1), AT - timedelta(minutes=30)
    assert ("click", "shop.example", "s1", "v1", "https://shop.example/a", "/a", hours[0]) == inheriting
    assert ("scroll", "other.example", "s2", "v2", "https://other.example/b", "/b", hours[1]) == own


def test_batch_keeps_unknown_members() -> None:
    """What a batch says beside the known members is kept with each event; the envelope's own is not."""
    members = [{"eventType": "click", "n": 1}, {"eventType": "click", "campaign": "own"}]
    batch = {"eventType": "batch", "batchId": "b1", "sentAt": "…", "siteId": "s", "campaign": "all", "events": members}

    expected = [{"campaign": "all", "eventType": "click", "n": 1}, {"campaign": "own", "eventType": "click"}]
    assert expected == [row["raw_event_data"] for row in stored(batch)]


def test_null_is_absent() -> None:
    """A member that is null says nothing: what the batch says holds, or nobody says it."""
    names = ("sessionId", "visitorId", "siteId", "url", "path", "timestamp", "eventId")
    silent = {"eventType": "click", **dict.fromkeys(names)}
    (row,) = stored({"eventType": "batch", "sessionId": "s1", "siteId": "shop.example", "events": [silent]})

    expected = {"session_id": "s1", "site_id": "shop.example", "visitor_id": None, "url": None, "path": None}
    assert expected == {name: row[name] for name in expected}
    assert AT == row["timestamp"]


@pytest.mark.parametrize(
    ("members", "page", "expected"),
    [
        ({"siteId": "given", "url": "https://url.example/"}, "https://page.example", "given"),
        ({"url": "https://url.example:8443/a"}, "https://page.example", "url.example"),
        ({"url": "https://URL.Example/a"}, None, "url.example"),
        ({"url": "https://user:word@url.example/a"}, None, "url.example"),
        ({"url": "/a"}, "https://page.example:8443", "page.example"),
        ({"url": "https://[broken/"}, "https://page.example", "page.example"),
        ({}, "https://page.example/b?c", "page.example"),
        ({"siteId": "", "url": ""}, "https://page.example", "page.example"),
        ({"url": "https://[2001:db8::1]:8000/"}, None, "2001:db8::1"),
    ],
)
def test_site(members: dict[str, Json], page: str | None, expected: str) -> None:
    """The site is what the event says, else the host of its address, else that of the page."""
    assert [expected] == [row["site_id"] for row in stored({"eventType": "click", **members}, page=page)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"url": "https://shop.example/a/b?c=d#e"}, "/a/b"),
        ({"url": "https://shop.example"}, "/"),
        ({"url": "https://shop.example/a", "path": "/b"}, "/b"),
        ({"url": "https://shop.example/a", "path": ""}, ""),
        ({"url": "https://[broken/"}, None),
        ({}, None),
        ({"path": "/" + "x" * 499}, "/" + "x" * 499),
        ({"path": "/" + "x" * 500}, "/" + "x" * 499),
        ({"url": "https://shop.example/" + "ä" * 500}, "/" + "ä" * 499),
    ],
)
def test_path(members: dict[str, Json], expected: str | None) -> None:
    """The path is what the event says, else that of its address, of 500 characters at most."""
    assert expected == one(members)["path"]


@pytest.mark.parametrize(
    ("member", "length_max"),
    [("eventType", 50), ("siteId", 100), ("sessionId", 100), ("visitorId", 100), ("url", 8_192), ("path", 8_192)],
)
def test_length(member: str, length_max: int) -> None:
    """A member may be as long as its limit in characters, and no longer."""
    expected = {"eventType": "event_type", "siteId": "site_id", "sessionId": "session_id", "visitorId": "visitor_id"}

    assert "ä" * length_max == one({member: "ä" * length_max})["raw_event_data"][member]
    assert f"{expected.get(member, member)}_invalid" == code(CLICK | {member: "x" * (length_max + 1)})


@pytest.mark.parametrize("value", [1, True, [], {}, ["x"]])
@pytest.mark.parametrize("member", ["eventType", "eventId", "siteId", "sessionId", "visitorId", "url", "path"])
def test_type(member: str, value: Json) -> None:
    """A known member that is no text refuses its event, under a code that names it."""
    assert member.lower() + "invalid" == str(code(CLICK | {member: value})).replace("_", "")


@pytest.mark.parametrize("member", [None, 1, "click", [], [CLICK]])
def test_event_is_no_object(member: Json) -> None:
    """An event that is no object is refused alone."""
    assert "event_invalid" == code(member)


@pytest.mark.parametrize("members", [{}, {"eventType": None}, {"eventType": ""}, {"eventType": "batch", "events": []}])
def test_event_type_invalid(members: dict[str, Json]) -> None:
    """An event without a type, and a batch in a batch, are refused."""
    assert "event_type_invalid" == code({"siteId": "s", **members})


@pytest.mark.parametrize("members", [{}, {"url": "/a"}, {"url": "mailto:x"}, {"url": f"https://{'x' * 101}/"}])
def test_site_missing(members: dict[str, Json]) -> None:
    """An event of which nobody can tell the site is refused."""
    assert "site_missing" == code({"eventType": "click", **members})


@pytest.mark.parametrize("event_id", ["", "1", "x" * 32, "0193f5d0-7e1c-7a4b-9a53-0123456789a", "{" + "0" * 32 + "}"])
def test_event_id_invalid(event_id: str) -> None:
    """An id that is no UUID refuses its event."""
    assert "event_id_invalid" == code(CLICK | {"eventId": event_id})


def test_event_id_derived() -> None:
    """Without an id the same content has the same one, and different content, or another time, another one."""
    first, again, other, later = (
        one(members)["event_id"] for members in ({}, {}, {"data": 1}, {"timestamp": "2026-11-22T09:00:00Z"})
    )

    assert first == again
    assert 3 == len({first, other, later})


@pytest.mark.parametrize("member", ["sessionId", "visitorId", "siteId", "url", "path", "timestamp"])
def test_event_id_derived_from_the_batch(member: str) -> None:
    """A derived id depends on what an event inherits, so that two visitors' equal clicks are two events."""
    batches: list[dict[str, Any]] = [
        {"eventType": "batch", "siteId": "s", "batchId": batch, "events": [{"eventType": "click"}]} | {member: value}
        for value, batch in (
            ("2026-11-22T09:00:00Z", "b1"),
            ("2026-11-22T09:00:01Z", "b1"),
            ("2026-11-22T09:00:00Z", "b2"),
        )
    ]
    one_said, other_said, said_again = (stored(batch)[0]["event_id"] for batch in batches)

    assert one_said != other_said
    assert one_said == said_again


@pytest.mark.parametrize("document", [None, True, 1, 1.5, "click", [], [CLICK], [[]]])
def test_envelope_invalid(document: Json) -> None:
    """A document that is no object is refused as a whole."""
    assert (400, "envelope_invalid") == outcome(document)


@pytest.mark.parametrize("members", [{}, {"events": []}, {"events": None}, {"events": {}}, {"events": "x"}])
def test_batch_empty(members: dict[str, Json]) -> None:
    """A batch without a list of events is refused as a whole."""
    assert (400, "batch_empty") == outcome({"eventType": "batch", **members})


def test_batch_limit() -> None:
    """A batch may have 1,000 events, and not one more."""
    assert EVENTS_MAX == 1_000 == len(stored({"eventType": "batch", "events": [CLICK] * EVENTS_MAX}))
    assert (413, "batch_too_large") == outcome({"eventType": "batch", "events": [CLICK] * (EVENTS_MAX + 1)})


def test_bad_among_good() -> None:
    """Each event of a batch is judged alone, and keeps its place."""
    batch = {"eventType": "batch", "events": [CLICK, 7, CLICK, {"eventType": "click"}, CLICK]}
    entry, answer = take(request(batch), Policy(), salt=SALT)

    assert (3, 3) == (len(entry.rows), answer["accepted"])
    expected = [(1, "event_invalid"), (3, "site_missing")]
    assert expected == [(refusal["index"], refusal["code"]) for refusal in answer["rejected"]]

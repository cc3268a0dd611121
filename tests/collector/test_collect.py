"""POST /collect, through a real socket: every status of the contract, and what is stored behind a 200."""

from __future__ import annotations

import json

import pytest

from evothesis.collector.decode import BODY_BYTES_MAX
from tests.appliance import Appliance
from tests.collector.client import JSON_TYPE, ask, collect


def stored(appliance: Appliance, site: str) -> list[object]:
    """What the database has of a site: each event as it was sent, in the order of its arrival."""
    appliance.wait_until_drained()
    query = "select raw_event_data from events_log where site_id = %s order by writer, segment_no, idx"
    return [row["raw_event_data"] for row in appliance.rows(query, [site])]


def test_one_event(collector: Appliance, site: str) -> None:
    """One event is accepted and stored as it was sent."""
    event = {"eventType": "click", "siteId": site, "data": {"text": 'ä😀 "\\" \t\n', "n": [1, 2.5, None]}, "unknown": 7}
    answer = collect(collector.url, event)

    assert (200, {"accepted": 1, "duplicate": 0, "rejected": []}) == (answer.status, answer.json)
    assert [event] == stored(collector, site)


def test_batch(collector: Appliance, site: str) -> None:
    """The events of a batch have, in their columns, what the batch says for all of them."""
    batch = {"eventType": "batch", "batchId": "b1", "siteId": site, "sessionId": "s1", "visitorId": "v1"}
    events = [
        {"eventType": "pageview", "url": f"https://{site}/a?b=c"},
        {"eventType": "click", "url": f"https://{site}/b", "path": "/own", "sessionId": "s2"},
    ]
    answer = collect(collector.url, batch | {"events": events})
    collector.wait_until_drained()

    assert (200, 2) == (answer.status, answer.json["accepted"])
    expected = [
        {
            "event_type": "pageview",
            "session_id": "s1",
            "visitor_id": "v1",
            "url": f"https://{site}/a?b=c",
            "path": "/a",
        },
        {"event_type": "click", "session_id": "s2", "visitor_id": "v1", "url": f"https://{site}/b", "path": "/own"},
    ]
    query = "select event_type, session_id, visitor_id, url, path from events_log where site_id = %s order by idx"
    assert expected == collector.rows(query, [site])


@pytest.mark.parametrize("members", [{}, {"timestamp": "2026-11-22T09:00:00Z"}], ids=["now", "at a time"])
def test_same_content_twice(collector: Appliance, site: str, members: dict[str, str]) -> None:
    """An event that is sent twice without an id is stored once and counted as one duplicate."""
    event = {"eventType": "click", "siteId": site, **members}
    for _ in range(2):
        assert 200 == collect(collector.url, event).status

    assert [event] == stored(collector, site)
    usage = collector.rows(
        "select sum(accepted)::int as accepted, sum(duplicate)::int as duplicate from usage_ledger where site_id = %s",
        [site],
    )
    assert [{"accepted": 1, "duplicate": 1}] == usage


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "https://{site}:8443", "Referer": "https://other.example/a"}, "{site}"),
        ({"Origin": "null", "Referer": "https://{site}/a"}, "{site}"),
        ({"Referer": "https://{site}/a?b"}, "{site}"),
    ],
    ids=["Origin", "sandboxed", "Referer"],
)
def test_site_of_the_page(collector: Appliance, site: str, headers: dict[str, str], expected: str) -> None:
    """An event that names no site belongs to that of its page."""
    sent = {name: value.format(site=site) for name, value in headers.items()}

    assert 1 == collect(collector.url, {"eventType": "click"}, sent).json["accepted"]
    assert [{"eventType": "click"}] == stored(collector, expected.format(site=site))


def test_largest_body(collector: Appliance, site: str) -> None:
    """A body of exactly 1 MiB, of events within their limit, is stored."""
    event = {"eventType": "a", "data": "x" * 30_000}
    batch = json.dumps({"eventType": "batch", "siteId": site, "events": [event | {"n": n} for n in range(34)]}).encode()
    answer = collect(collector.url, batch + b" " * (BODY_BYTES_MAX - len(batch)))

    assert (200, 34) == (answer.status, answer.json["accepted"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"])
def test_method(collector: Appliance, method: str) -> None:
    """Another method than POST is refused, and the answer says which ones are not."""
    answer = ask(collector.url, method, "/collect")

    assert 405 == answer.status
    assert {"OPTIONS", "POST"} == set(answer.headers["Allow"].split(","))
    if method != "HEAD":
        assert (405, "method_not_allowed") == answer.error


def test_preflight(collector: Appliance) -> None:
    """Any page may send JSON or gzip without credentials; browsers remember that for a day."""
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    answer = ask(collector.url, "OPTIONS", "/collect", headers=asked)

    allowed = {name: answer.headers[f"Access-Control-Allow-{name}"] for name in ("Origin", "Methods", "Headers")}
    assert (204, b"") == (answer.status, answer.body)
    assert {"Origin": "*", "Methods": "POST", "Headers": "Content-Type, Content-Encoding"} == allowed
    assert "86400" == answer.headers["Access-Control-Max-Age"]
    assert None is answer.headers["Access-Control-Allow-Credentials"]


def test_long_page(collector: Appliance, site: str) -> None:
    """A refused event of a page with a long name stops nothing: what comes after it is stored."""
    host = "".join(f"{number:x}" for number in range(1_700))
    answer = collect(collector.url, {"eventType": ""}, {"Referer": f"https://{host}/"})
    event = {"eventType": "click", "siteId": site}

    assert (200, 1) == (answer.status, len(answer.json["rejected"]))
    assert 200 == collect(collector.url, event).status
    assert [event] == stored(collector, site)


def test_golden_headers(collector: Appliance, site: str) -> None:
    """An answer names no product and cannot be taken for something else."""
    headers = collect(collector.url, {"eventType": "click", "siteId": site}).headers

    assert None is headers["Server"]
    assert ("application/json", "nosniff") == (headers["Content-Type"], headers["X-Content-Type-Options"])
    assert ("*", "cross-origin") == (headers["Access-Control-Allow-Origin"], headers["Cross-Origin-Resource-Policy"])


def test_health(collector: Appliance) -> None:
    """A collector that takes events says so, without a token and without a secret."""
    answer = ask(collector.url, "GET", "/health")

    assert (200, "ok", True) == (answer.status, answer.json["status"], answer.json["spool"]["accepting"])
    assert JSON_TYPE["Content-Type"] == answer.headers.get_content_type()

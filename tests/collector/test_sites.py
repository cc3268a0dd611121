"""Sites: whose events are taken where there is a list, and what becomes of the others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from evothesis.collector.allowed import Allowed
from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.config import Limits
from evothesis.event import encode_entry
from tests.appliance import Appliance
from tests.collector.client import ask, collect
from tests.collector.copy_text import SALT, request

SITES = ["shop.example", "*.wide.example", "An App"]
TAKEN = ["shop.example", "a.wide.example", "a-1.b_2.wide.example", "An App"]
OTHERS = [
    "other.example",
    "Shop.example",
    "shop.example.",
    "shop.example.evil.example",
    "evilshop.example",
    "a.shop.example",
    "shopxexample",
    " shop.example",
    "shop.example\n",
    "wide.example",
    "*.wide.example",
    "a.wide.example.evil.example",
    "awide.example",
    "a b.wide.example",
    "a/.wide.example",
    "A.wide.example",
    "a.wide.example\n",
    "an app",
    "(unknown)",
]
LEFT = """
select (select count(*) from events_log where raw_event_data ->> 'mark' = %(mark)s)::int as stored,
       (select count(*) from rejected_events where event like '%%' || %(mark)s || '%%')::int as kept,
       (select count(*) from sites where site_id <> all(%(known)s))::int as named,
       (select coalesce(sum(rejected), 0) from usage_ledger where site_id = '(unknown)')::int as counted
"""


def left(listed: Appliance, mark: str) -> dict[str, Any]:
    """What the database has of events with that mark."""
    listed.wait_until_drained()
    return listed.rows(LEFT, {"mark": mark, "known": [*TAKEN, "(unknown)"]})[0]


def test_list(listed: Appliance) -> None:
    """Events of listed sites are stored; each of another site is refused alone, counted, and kept nowhere."""
    before = left(listed, "list")["counted"]
    events = [{"eventType": "click", "siteId": site, "mark": "list", "n": n} for n, site in enumerate(TAKEN + OTHERS)]
    answer = collect(listed.url, {"eventType": "batch", "events": events})

    refused = [(refusal["index"], refusal["code"]) for refusal in answer.json["rejected"]]
    assert (200, len(TAKEN)) == (answer.status, answer.json["accepted"])
    assert [(len(TAKEN) + number, "site_not_allowed") for number in range(len(OTHERS))] == refused
    assert 1 == len({refusal["message"] for refusal in answer.json["rejected"]})
    assert {"stored": len(TAKEN), "kept": 0, "named": 0, "counted": before + len(OTHERS)} == left(listed, "list")


@pytest.mark.parametrize("target", ["/collect", "/collect?x"])
@pytest.mark.parametrize(
    ("members", "headers"),
    [
        ({"siteId": "other.example"}, {}),
        ({"url": "https://other.example/"}, {}),
        ({}, {"Origin": "https://shop.example", "Referer": "https://other.example/"}),
        ({"url": "https://other.example/"}, {"Origin": "https://shop.example"}),
        ({"siteId": "other.example", "url": "https://shop.example/"}, {}),
    ],
    ids=["named", "of the page", "of the origin", "page before origin", "name before page"],
)
def test_site_however_named(listed: Appliance, target: str, members: dict[str, str], headers: dict[str, str]) -> None:
    """It is the site under which an event would be stored that counts, at both doors."""
    body = json.dumps({"eventType": "click", **members}).encode()
    answer = ask(listed.url, "POST", target, body=body, headers={"Content-Type": "text/plain", **headers})

    expected = [] if "Referer" in headers else ["site_not_allowed"]
    assert (200, expected) == (answer.status, [refusal["code"] for refusal in answer.json["rejected"]])


def test_bad_event_of_another_site(listed: Appliance) -> None:
    """An event that could not be stored anyway is told so; of another site it is not kept for repair either."""
    events = [{"eventType": "click", "siteId": s, "timestamp": "bad"} for s in ("other.example", "shop.example")]
    before = left(listed, "bad")
    answer = collect(listed.url, {"eventType": "batch", "events": events})

    after = left(listed, "bad")
    assert ["timestamp_invalid"] * 2 == [refusal["code"] for refusal in answer.json["rejected"]]
    assert (1, 1) == (after["kept"] - before["kept"], after["counted"] - before["counted"])


def test_pixel(listed: Appliance) -> None:
    """The image is answered whatever the site is, and counts a view of a listed one only."""
    query = "select count(*)::int as views from events_log where event_type = 'pageview'"
    before = listed.rows(query)[0]["views"]
    answers = [ask(listed.url, "GET", f"/pixel.gif?site={site}") for site in ("shop.example", "other.example")]

    listed.wait_until_drained()
    assert [(200, answers[0].body)] * 2 == [(answer.status, answer.body) for answer in answers]
    assert before + 1 == listed.rows(query)[0]["views"]


def test_refusing_visitor(listed: Appliance) -> None:
    """Withheld events are counted for listed sites only, so that nobody can write names into the counts."""
    events = [{"eventType": "click", "siteId": site} for site in ("shop.example", "Jane Doe")]
    answer = collect(listed.url, {"eventType": "batch", "events": events}, {"DNT": "1"})
    listed.wait_until_drained()

    assert {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": 1} == answer.json
    assert [{"site_id": "shop.example"}] == listed.rows("select distinct site_id from usage_ledger where withheld > 0")


def test_name_is_kept_nowhere() -> None:
    """What is written down of events of other sites is their number."""
    events = [{"eventType": "click", "siteId": "canary"}, {"eventType": 7, "siteId": "canary"}]
    entry, _ = take(request({"eventType": "batch", "events": events}), Policy(sites=SITES), salt=SALT)

    assert ([], [], {}, 2) == (entry.rows, entry.rejected, entry.withheld, entry.unlisted)
    assert b"canary" not in encode_entry(entry)


@pytest.mark.parametrize(
    "name", ["", "*", "*.", "*.*", "a.*", "*example", "*.Shop.example", "*.a b", "*..a", "x" * 101]
)
def test_no_name(name: str) -> None:
    """What would match nothing, or more than it looks like, cannot be configured."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"sites": [name]}, Limits)


def test_no_list() -> None:
    """An empty list is none: every site is taken."""
    assert [] == [site for site in (*TAKEN, *OTHERS, "") if not Allowed().has(site)]

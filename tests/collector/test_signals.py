"""Signals: what a running collector does with the events of visitors who refuse, by DNT or by GPC."""

from __future__ import annotations

from typing import Any

import pytest

from tests.appliance import Appliance
from tests.collector.client import JSON_TYPE, ask, collect

EVENT = {"eventType": "click", "sessionId": "s1", "visitorId": "v1"}
IDENTITY = "select session_id, visitor_id, user_agent, ip_address::text from events_log where site_id = %s"
USAGE = """
select sum(accepted)::int as accepted, sum(rejected)::int as rejected, sum(withheld)::int as withheld
  from usage_ledger where site_id = %s
"""


def counted(appliance: Appliance, site: str) -> list[Any]:
    """Accepted, refused and withheld events of a site, by the ledger."""
    appliance.wait_until_drained()
    return list(appliance.rows(USAGE, [site])[0].values())


@pytest.mark.parametrize(
    "headers", [{"DNT": "1"}, {"Sec-GPC": "1"}, {"DNT": "1", "Sec-GPC": "1"}, {"DNT": "0", "Sec-GPC": "1"}], ids=str
)
def test_drop(collector: Appliance, site: str, headers: dict[str, str]) -> None:
    """By default a visitor who refuses is told so, and nothing is stored but a count of the site."""
    batch = {"eventType": "batch", "siteId": site, "events": [EVENT, EVENT | {"n": 1}]}
    answer = collect(collector.url, batch, headers)

    assert (200, {"accepted": 0, "duplicate": 0, "rejected": [], "withheld": 2}) == (answer.status, answer.json)
    assert [0, 0, 2] == counted(collector, site)
    assert [] == collector.rows(IDENTITY, [site])


@pytest.mark.parametrize("target", ["/collect", "/collect?x"])
@pytest.mark.parametrize("header", ["DNT", "Sec-GPC", "dnt", "SEC-GPC"])
def test_drop_at_both_doors(collector: Appliance, site: str, target: str, header: str) -> None:
    """A refusal is heard whichever way a request takes, however the header's name is written."""
    body = b'{"eventType":"click","siteId":"%s"}' % site.encode()
    answer = ask(collector.url, "POST", target, body=body, headers=JSON_TYPE | {header: " 1 "})

    assert (200, 1) == (answer.status, answer.json["withheld"])
    assert [0, 0, 1] == counted(collector, site)


@pytest.mark.parametrize("headers", [{}, {"DNT": "0"}, {"DNT": "unspecified"}, {"Sec-GPC": "0"}], ids=str)
def test_no_signal(collector: Appliance, site: str, headers: dict[str, str]) -> None:
    """Whoever does not refuse is collected."""
    answer = collect(collector.url, EVENT | {"siteId": site}, headers)

    assert {"accepted": 1, "duplicate": 0, "rejected": []} == answer.json
    assert [1, 0, 0] == counted(collector, site)


def test_drop_refused_events(collector: Appliance, site: str) -> None:
    """Of a visitor who refuses a bad event is not kept either."""
    bad = {"siteId": site, "eventType": "click", "timestamp": "canary"}

    assert 0 == collect(collector.url, bad, {"DNT": "1"}).json["withheld"]
    collector.wait_until_drained()
    assert [] == collector.rows("select event from rejected_events where site_id = %s", [site])


def test_anonymise(anonymising: Appliance, site: str) -> None:
    """Where it is configured, such events are stored without what tells one visitor from another."""
    agent = {"User-Agent": "Mozilla/5.0"}
    answers = [collect(anonymising.url, EVENT | {"siteId": site}, headers | agent) for headers in ({"DNT": "1"}, {})]
    anonymising.wait_until_drained()

    assert [{"withheld": 0}, {}] == [{n: a.json[n] for n in ("withheld",) if n in a.json} for a in answers]
    nobody, visitor = anonymising.rows(IDENTITY + " order by session_id nulls first", [site])
    assert {"session_id": None, "visitor_id": None, "user_agent": None, "ip_address": None} == nobody
    assert ("s1", "v1", "Mozilla/5.0") == (visitor["session_id"], visitor["visitor_id"], visitor["user_agent"])


def test_anonymise_content(anonymising: Appliance, site: str) -> None:
    """The event as it was sent is anonymised too."""
    batch = {"eventType": "batch", "siteId": site, "sessionId": "s1", "visitorId": "v1", "events": [EVENT | {"n": 1}]}
    collect(anonymising.url, batch, {"Sec-GPC": "1"})
    anonymising.wait_until_drained()

    rows = anonymising.rows("select raw_event_data from events_log where site_id = %s", [site])
    assert [{"raw_event_data": {"eventType": "click", "n": 1}}] == rows


def test_ignore(proxied: Appliance, site: str) -> None:
    """Where signals are ignored, by decision of the operator, such events are stored as all others."""
    headers = JSON_TYPE | {"DNT": "1", "X-Forwarded-For": "198.51.100.1"}
    body = b'{"eventType":"click","sessionId":"s1","siteId":"%s"}' % site.encode()
    answer = ask(proxied.url, "POST", "/in/c", body=body, headers=headers)
    proxied.wait_until_drained()

    assert {"accepted": 1, "duplicate": 0, "rejected": [], "withheld": 0} == answer.json
    (row,) = proxied.rows(IDENTITY, [site])
    assert ("s1", "198.51.100.1/32") == (row["session_id"], row["ip_address"])

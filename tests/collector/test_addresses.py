"""Addresses: whose request it is, how often it may come, and what is stored of where it came from."""

from __future__ import annotations

import ipaddress
import itertools
import json
import time

from tests.appliance import Appliance, eventually
from tests.collector.client import JSON_TYPE, Answer, ask, collect

ADDRESS = "select host(ip_address) as address from events_log where site_id = %s order by writer, segment_no, idx"

_hosts = itertools.count(1)


def send(proxied: Appliance, site: str, *lines: str, **headers: str) -> Answer:
    """An event whose X-Forwarded-For has these lines."""
    sent = [*JSON_TYPE.items(), *headers.items(), *(("X-Forwarded-For", line) for line in lines)]
    event = {"eventType": "click", "siteId": site, "n": next(_hosts)}
    return ask(proxied.url, "POST", "/in/c", body=json.dumps(event).encode(), headers=sent)


def addresses(appliance: Appliance, site: str) -> list[str | None]:
    """The addresses that are stored of a site's events."""
    appliance.wait_until_drained()
    return [row["address"] for row in appliance.rows(ADDRESS, [site])]


def test_hash(anonymising: Appliance, site: str) -> None:
    """A hashed address is nobody's, and one client has one."""
    for number in range(2):
        collect(anonymising.url, {"eventType": "click", "siteId": site, "n": number})
    stored = addresses(anonymising, site)

    assert (2, 1) == (len(stored), len(set(stored)))
    assert ipaddress.ip_address(stored[0] or "") in ipaddress.ip_network("fd00::/8")


def test_none(addressless: Appliance, site: str) -> None:
    """Where no address may be kept, none is."""
    collect(addressless.url, {"eventType": "click", "siteId": site})

    assert [None] == addresses(addressless, site)


def statuses(proxied: Appliance, site: str, forwarded: list[str], **headers: str) -> list[Answer]:
    """The answers to requests from these addresses, as fast as they can be sent."""
    return [send(proxied, site, address, **headers) for address in forwarded]


def test_limit_of_an_address(proxied: Appliance, site: str) -> None:
    """Two seconds' worth of requests pass at once; then the client is told to wait, and others are not."""
    started_at = time.monotonic()
    answers = statuses(proxied, site, ["203.0.113.5"] * 40)
    took_seconds = time.monotonic() - started_at
    first = [answer.status for answer in answers].index(429)

    assert (429, "too_many_requests") == answers[first].error
    assert int(answers[first].headers["Retry-After"]) > 0
    assert "*" == answers[first].headers["Access-Control-Allow-Origin"]
    assert 10 <= first <= 10 + 5 * took_seconds + 1
    assert 200 == send(proxied, site, "203.0.113.6").status
    eventually(lambda: send(proxied, site, "203.0.113.5").status == 200, timeout=2)


def test_limit_of_a_network(proxied: Appliance, site: str) -> None:
    """An IPv6 client is its /64: changing the rest of the address gains nothing."""
    answers = statuses(proxied, site, [f"2001:db8:5::{number:x}" for number in range(1, 41)])

    assert 429 in {answer.status for answer in answers}
    assert 200 == send(proxied, site, "2001:db8:5:1::1").status


def test_limit_of_a_site(proxied: Appliance, site: str) -> None:
    """The limit of a site holds whoever comes; another site is not touched."""
    origin = f"https://{site}"
    answers = statuses(proxied, site, [f"192.0.2.{number}" for number in range(1, 41)], Origin=origin)
    first = [answer.status for answer in answers].index(429)

    assert (429, "too_many_requests") == answers[first].error
    assert 10 <= first
    assert 200 == send(proxied, site, "192.0.2.200", Origin="https://other.example").status


def test_refused_by_limit_is_not_stored(proxied: Appliance, site: str) -> None:
    """What was answered 429 is not stored; what was answered 200 is."""
    answers = statuses(proxied, site, ["203.0.113.9"] * 40)

    assert [answer.status for answer in answers].count(200) == len(addresses(proxied, site))


def test_no_limit_by_default_setting(collector: Appliance, site: str) -> None:
    """A limit of 0 is none."""
    answers = [collect(collector.url, {"eventType": "click", "siteId": site, "n": n}).status for n in range(150)]

    assert {200} == set(answers)

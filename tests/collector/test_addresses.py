"""Addresses: whose request it is, how often it may come, and what is stored of where it came from."""

from __future__ import annotations

import ipaddress
import itertools
import json
import time

import pytest

from tests.appliance import Appliance
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
    """The answers to requests from these addresses, as fast as they can be sent, each of another site.

    Each has a connection of its own: the kernel spreads them over two collectors.
    """
    return [send(proxied, f"{number} {site}", address, **headers) for number, address in enumerate(forwarded)]


def test_limit_of_an_address(proxied: Appliance, site: str) -> None:
    """Two seconds' worth of requests pass at once; then the client is told to wait, and others are not."""
    started_at = time.monotonic()
    answers = statuses(proxied, site, ["203.0.113.5"] * 40)
    took_seconds = time.monotonic() - started_at
    first = [answer.status for answer in answers].index(429)

    assert (429, "too_many_requests") == answers[first].error
    assert "1" == answers[first].headers["Retry-After"]
    assert "*" == answers[first].headers["Access-Control-Allow-Origin"]
    assert 10 <= first <= 10 + 5 * took_seconds + 1
    assert 200 == send(proxied, site, "203.0.113.6").status
    time.sleep(1)
    assert 200 == send(proxied, site, "203.0.113.5").status


def test_limit_of_a_network(proxied: Appliance, site: str) -> None:
    """An IPv6 client is its /64: changing the rest of the address gains nothing."""
    answers = statuses(proxied, site, [f"2001:db8:5::{number:x}" for number in range(1, 41)])

    assert 429 in {answer.status for answer in answers}
    assert 200 == send(proxied, site, "2001:db8:5:1::1").status


def test_limit_of_a_site(proxied: Appliance, site: str) -> None:
    """The limit of a site holds whoever comes, and whatever page he says he comes from; another site is not touched."""
    clients = [f"192.0.2.{number}" for number in range(1, 41)]
    started_at = time.monotonic()
    answers = [send(proxied, site, client, Origin=f"https://{client}.example") for client in clients]
    took_seconds = time.monotonic() - started_at
    first = [answer.status for answer in answers].index(429)

    assert (429, "too_many_requests", "1") == (*answers[first].error, answers[first].headers["Retry-After"])
    assert 10 <= first <= 10 + 5 * took_seconds + 1
    assert 200 == send(proxied, f"other {site}", "192.0.2.200", Origin=f"https://{site}").status
    assert [answer.status for answer in answers].count(200) == len(addresses(proxied, site))


@pytest.mark.parametrize("place", ["event", "batch", "refused event"])
def test_limit_of_a_site_in_a_batch(proxied: Appliance, site: str, place: str) -> None:
    """A site is limited wherever its name stands in a request; a request counts once, however many events it has."""
    event = {"eventType": "click", "timestamp": "now" if place == "refused event" else "2026-11-22T09:00:00Z"}
    named = {"siteId": site}
    batch = {"eventType": "batch", "events": [event | (named if place != "batch" else {})] * 20}
    body = json.dumps(batch | (named if place == "batch" else {})).encode()
    answers = [
        ask(
            proxied.url, "POST", "/in/c", body=body, headers=JSON_TYPE | {"X-Forwarded-For": f"198.18.{len(place)}.{n}"}
        )
        for n in range(40)
    ]

    assert [200] * 10 == [answer.status for answer in answers[:10]]
    assert (429, "too_many_requests") in [answer.error for answer in answers if answer.status != 200]


def test_refused_by_limit_is_not_stored(proxied: Appliance, site: str) -> None:
    """What was answered 429 is not stored; what was answered 200 is."""
    answers = statuses(proxied, site, ["203.0.113.9"] * 40)
    proxied.wait_until_drained()
    (row,) = proxied.rows("select count(*) as events from events_log where site_id like %s", [f"% {site}"])

    assert [answer.status for answer in answers].count(200) == row["events"]


def test_address_before_site(proxied: Appliance, site: str) -> None:
    """What one client may not send does not count for its site: nobody alone can lock the others out."""
    elsewhere = statuses(proxied, site, ["203.0.113.77"] * 20)
    here = [send(proxied, site, "203.0.113.77").status for _ in range(20)]

    assert 429 in {answer.status for answer in elsewhere}
    assert 429 in here
    assert 200 == send(proxied, site, "203.0.113.78").status


def test_no_limit_by_default_setting(collector: Appliance, site: str) -> None:
    """A limit of 0 is none."""
    answers = [collect(collector.url, {"eventType": "click", "siteId": site, "n": n}).status for n in range(150)]

    assert {200} == set(answers)

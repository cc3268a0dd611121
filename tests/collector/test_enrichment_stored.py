"""Enrichment, end to end: what is sent to the socket, and its columns in PostgreSQL, in Parquet and on the bill."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from evothesis.event import COLUMNS
from tests.agents import BROWSER, CRAWLER, HEADLESS
from tests.appliance import Appliance
from tests.collector.client import JSON_TYPE, ask, collect

OWN = COLUMNS[COLUMNS.index("is_bot") :]
NOTHING: dict[str, Any] = dict.fromkeys(OWN) | {"is_bot": False}
STORED = "select * from events where site_id = %s order by idx"
PERSON = {"browser": "Chrome", "browser_version": "148", "os": "Linux", "device_type": "desktop"}


def rows(appliance: Appliance, site: str) -> list[dict[str, Any]]:
    """The columns of enrichment of a site's events, as the view for people has them."""
    appliance.wait_until_drained()
    return [{name: row[name] for name in OWN} for row in appliance.rows(STORED, [site])]


def test_stored_and_delivered(collector: Appliance, site: str) -> None:
    """A visit's columns are the same in the table and in the bucket."""
    url = f"https://{site}/?utm_source=letter&utm_medium=e%2Dmail&utm_campaign=%C3%A4%09%5CN&utm_id=7&msclkid=x"
    view = {"eventType": "pageview", "siteId": site, "url": url, "data": {"referrer": "https://chatgpt.com/"}}
    batch = {"eventType": "batch", "events": [view, {"eventType": "click", "siteId": site}]}
    assert 2 == collect(collector.url, batch).json["accepted"]

    campaign = {"utm_source": "letter", "utm_medium": "e-mail", "utm_campaign": "ä\t\\N", "utm_id": "7"}
    source = {"referrer_type": "ai", "referrer_source": "ChatGPT", "click_id_type": "msclkid"}
    expected = [NOTHING | PERSON | campaign | source, NOTHING | PERSON]
    assert expected == rows(collector, site)
    collector.export()
    frame = pl.concat([pl.read_parquet(path) for path in collector.bucket.rglob("*.parquet")])
    assert expected == frame.filter(site_id=site).sort("idx").select(OWN).to_dicts()


def test_bots(collector: Appliance, site: str) -> None:
    """Events of bots are stored, delivered and counted; the bill has those of people."""
    event = {"eventType": "click", "siteId": site}
    for number, agent in enumerate((BROWSER, CRAWLER, HEADLESS)):
        assert 1 == collect(collector.url, event | {"n": number}, {"User-Agent": agent}).json["accepted"]
    body = json.dumps(event).encode()
    assert 1 == ask(collector.url, "POST", "/collect", body=body, headers=JSON_TYPE).json["accepted"]
    # an address that aiohttp answers
    assert 200 == ask(collector.url, "GET", f"/pixel.gif?site={site}", headers={"User-Agent": CRAWLER}).status

    reasons = [row["bot_reason"] for row in rows(collector, site)]
    assert sorted(["", r"Googlebot\/", r"Googlebot\/", "HeadlessChrome", "no user agent"]) == sorted(
        reason or "" for reason in reasons
    )
    (line,) = [line for line in collector.usage()["sites"] if line["site_id"] == site]
    assert (5, 1, 4) == (line["events"], line["billable"], line["bots"])


def test_country(proxied: Appliance, site: str) -> None:
    """The country is that of the client, not of the proxy."""
    body = json.dumps({"eventType": "click", "siteId": site}).encode()
    headers = JSON_TYPE | {"User-Agent": BROWSER, "X-Forwarded-For": "194.25.0.68"}
    assert 200 == ask(proxied.url, "POST", "/in/c", body=body, headers=headers).status

    assert [NOTHING | PERSON | {"country": "DE"}] == rows(proxied, site)


def test_anonymous(anonymising: Appliance, site: str) -> None:
    """Of a visitor who refuses it is stored whether they are a bot, and nothing of what they use."""
    event = {"eventType": "click", "siteId": site}
    for number, agent in enumerate((BROWSER, CRAWLER)):
        headers = {"User-Agent": agent, "DNT": "1"}
        assert 1 == collect(anonymising.url, event | {"n": number}, headers).json["accepted"]

    bot = {"is_bot": True, "bot_reason": r"Googlebot\/"}
    assert [NOTHING, NOTHING | bot] == sorted(rows(anonymising, site), key=lambda row: bool(row["is_bot"]))

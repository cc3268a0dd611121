"""GET /pixel.gif: a page view without JavaScript, through a real socket."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.appliance import Appliance
from tests.collector.client import ask, collect

STORED = """
select event_type, url, path, raw_event_data - 'timestamp' as raw
  from events_log where site_id = %s order by timestamp
"""


def stored(appliance: Appliance, site: str) -> list[dict[str, Any]]:
    """The page views of a site, in the order of their time."""
    appliance.wait_until_drained()
    return appliance.rows(STORED, [site])


def test_image(collector: Appliance, site: str) -> None:
    """The answer is an image of one pixel that nobody keeps."""
    answer = ask(collector.url, "GET", f"/pixel.gif?site={site}")

    assert (200, "image/gif", "no-store") == (
        answer.status,
        answer.headers["Content-Type"],
        answer.headers["Cache-Control"],
    )
    # GIF: the signature, then width and height, two bytes each with the low one first
    assert (b"GIF89a", b"\1\0\1\0", b";") == (answer.body[:6], answer.body[6:10], answer.body[-1:])


def test_view(collector: Appliance, site: str) -> None:
    """A view is stored as one, with the site and the address of the query."""
    url = f"https://{site}/a b?c=d&e=ä#f"
    ask(collector.url, "GET", f"/pixel.gif?site={site}&url={quote(url, safe='')}", headers={"Referer": "https://x/"})

    raw = {"eventType": "pageview", "siteId": site, "url": url, "data": {"pixel": True}}
    assert [{"event_type": "pageview", "url": url, "path": "/a b", "raw": raw}] == stored(collector, site)


def test_view_of_the_referer(collector: Appliance, site: str) -> None:
    """Without a query the page is the one that the browser names."""
    ask(collector.url, "GET", "/pixel.gif", headers={"Referer": f"https://{site}/a?b=c"})

    raw = {"eventType": "pageview", "url": f"https://{site}/a?b=c", "data": {"pixel": True}}
    expected = [{"event_type": "pageview", "url": f"https://{site}/a?b=c", "path": "/a", "raw": raw}]
    assert expected == stored(collector, site)


def test_view_again(collector: Appliance, site: str) -> None:
    """Two views of one page by one client are two events."""
    for _ in range(2):
        ask(collector.url, "GET", f"/pixel.gif?site={site}")

    assert 2 == len(stored(collector, site))


def test_view_is_redacted(collector: Appliance, site: str) -> None:
    """The address of a page is cleaned here as everywhere."""
    url = quote(f"https://{site}/?mail=jane@example.com&a=1", safe="")
    ask(collector.url, "GET", f"/pixel.gif?site={site}&url={url}")

    assert [f"https://{site}/?mail=[redacted]&a=1"] == [row["url"] for row in stored(collector, site)]


@pytest.mark.parametrize("headers", [{"DNT": "1"}, {"Sec-GPC": "1"}], ids=str)
def test_view_of_one_who_refuses(collector: Appliance, site: str, headers: dict[str, str]) -> None:
    """A visitor who refuses gets the image, and is not stored."""
    answer = ask(collector.url, "GET", f"/pixel.gif?site={site}", headers=headers)

    assert (200, "image/gif") == (answer.status, answer.headers["Content-Type"])
    assert [] == stored(collector, site)


def test_any_query(collector: Appliance, site: str) -> None:
    """Whatever the query is, the answer is the image, and what is sent afterwards is stored."""
    queries = [
        "",
        "?site=",
        "?url=%00",
        "?site=%00&url=%00",
        "?site=a%FF&url=http://a/%FF%ED%A0%80",
        "?site=" + "x" * 200,
        "?url=" + "x" * 8_000,
        "?site=a&site=b",
        "?" + "a=b&" * 1_000,
        "?url=%5C%4E%09%0A",
        "?site=%5C.&url=%5C.",
    ]
    referer = {"Referer": "https://pixels.example/"}
    answers = [ask(collector.url, "GET", f"/pixel.gif{query}", headers=referer) for query in queries]
    event = {"eventType": "click", "siteId": site}

    assert [(200, "image/gif")] * len(queries) == [
        (answer.status, answer.headers["Content-Type"]) for answer in answers
    ]
    assert 200 == collect(collector.url, event).status
    assert [event] == [row["raw"] for row in stored(collector, site)]

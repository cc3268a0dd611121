"""The demo shop: a person sees what the server stored, and nothing of it can do harm."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page

from evothesis.demo import PAGES
from tests.appliance import Appliance, eventually

PAGEVIEWS = "select path from events_log where event_type = 'pageview' order by path"
COUNT = "select count(*) as count from events_log"


@pytest.fixture
def page(page: Page) -> Page:
    """A window in which the panel stands beside the shop."""
    page.set_viewport_size({"width": 1400, "height": 800})
    return page


def test_pages(demo_appliance: Appliance, page: Page) -> None:
    """Every page of the shop has the tag, scrolls, and works without a complaint from the browser."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    names = sorted(file.name for file in PAGES.glob("*.html"))
    heights = {}
    for name in names:
        page.goto(f"{demo_appliance.demo_url}/{name}")
        page.locator(".panel li").first.wait_for()
        heights[name] = page.evaluate("document.documentElement.scrollHeight > innerHeight")

    assert [] == complaints
    assert dict.fromkeys(names, True) == heights
    page.goto("about:blank")
    eventually(lambda: [f"/{name}" for name in names] == [row["path"] for row in demo_appliance.rows(PAGEVIEWS)])


def test_panel(demo_appliance: Appliance, page: Page) -> None:
    """The panel shows an event with all that was stored, and what is clicked in it is not tracked."""
    page.goto(demo_appliance.demo_url)
    row = page.locator(".panel li").first
    row.wait_for()
    row.get_by_role("button").click()
    (stored,) = demo_appliance.rows("select event_id::text, event_type, session_id from events_log")
    shown = json.loads(row.locator("pre").inner_text())

    assert stored == {name: shown[name] for name in stored}
    page.goto("about:blank")
    eventually(lambda: 4 == demo_appliance.rows(COUNT)[0]["count"])
    types = {event["event_type"] for event in demo_appliance.rows("select event_type from events_log")}
    assert {"pageview", "engagement", "vitals", "visibility"} == types


def test_hostile_event(demo_appliance: Appliance, page: Page) -> None:
    """An event that somebody forged is shown as text, whatever is in it."""
    markup = "<img src=x onerror='document.title = 1'>"
    event = {
        "eventType": markup,
        "timestamp": datetime.now(UTC).isoformat(),
        "siteId": markup,
        "sessionId": markup,
        "url": "https://shop.test/",
        "path": f"/{markup}",
        "data": [markup],
    }
    sent = page.request.post(
        f"{demo_appliance.url}/collect", data=json.dumps(event), headers={"Content-Type": "text/plain"}
    )
    assert 1 == sent.json()["accepted"]
    page.goto(f"{demo_appliance.demo_url}/about.html")
    row = page.locator(".panel li", has_text="onerror")
    row.get_by_role("button").click()

    assert markup in row.locator("pre").inner_text()
    assert (0, "The workshop · Halden Pottery") == (page.locator(".panel img").count(), page.title())


def test_shop(demo_appliance: Appliance, page: Page) -> None:
    """Choosing a glaze is a page view without a page load, and buying tells events of the shop's own."""
    page.goto(f"{demo_appliance.demo_url}/product.html?item=jug")
    page.get_by_role("link", name="Dusk").click()
    page.get_by_role("button", name="Put it in the basket").click()
    page.get_by_role("link", name="Basket (1)").click()
    page.get_by_role("button", name="Order").click()
    page.get_by_text("Nothing was sent").wait_for()
    page.goto("about:blank")
    query = "select raw_event_data -> 'data' as data from events_log where event_type = any(%s) order by timestamp"
    eventually(lambda: 5 == len(demo_appliance.rows(query, [["pageview", "custom"]])))

    titles = [row["data"]["title"] for row in demo_appliance.rows(query, [["pageview"]])]
    names = [row["data"]["name"] for row in demo_appliance.rows(query, [["custom"]])]
    assert ["Milk jug in moss", "Milk jug in dusk", "Your basket"] == [title.partition(" · ")[0] for title in titles]
    assert ["basket_add", "purchase"] == names


def test_two_domains(demo_appliance: Appliance, page: Page) -> None:
    """Who follows links to the diary, on another domain, and back is one visitor, and the panel says so."""
    page.goto(demo_appliance.demo_url)
    page.locator(".panel li").first.wait_for()
    page.get_by_role("link", name="Kiln diary").click()
    page.wait_for_url("http://localhost:*/diary.html")
    page.get_by_text("1 visitor, 1 session, 2 sites").wait_for()
    page.get_by_role("link", name="Back to the shop").click()
    page.wait_for_url("http://127.0.0.1:*/index.html")
    page.goto("about:blank")
    query = (
        "select site_id, path, visitor_id, session_id from events_log where event_type = 'pageview' order by timestamp"
    )
    eventually(lambda: 3 == len(demo_appliance.rows(query)))

    views = demo_appliance.rows(query)
    assert [("127.0.0.1", "/"), ("localhost", "/diary.html"), ("127.0.0.1", "/index.html")] == [
        (view["site_id"], view["path"]) for view in views
    ]
    assert 1 == len({(view["visitor_id"], view["session_id"]) for view in views})

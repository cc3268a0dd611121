"""What a visitor does becomes rows: each signal, with its data, once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Position

from tests.appliance import eventually
from tests.browser.site import Site

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def clicked(site: Site, page: Page, selector: str, position: Position | None = None) -> dict[str, Any]:
    """Click, leave, and look up what was stored of the click."""
    page.locator(selector).click(position=position)
    page.goto("about:blank")
    site.stored(3)
    (event,) = site.seen("click")
    return event.data


def test_pageview(site: Site, page: Page) -> None:
    """A page view is stored within seconds, without the visitor doing anything."""
    page.goto(f"{site.url}/path?colour=1#place", referer="http://search.test/?q=cups")
    (event,) = site.stored(1, timeout=5)

    assert {
        "title": "A page",
        "referrer": "http://search.test/?q=cups",
        "screen": {"width": 1000, "height": 700},
        "viewport": {"width": 1000, "height": 700},
        "language": "en-GB",
        "timeZone": "Europe/Oslo",
        "navigationType": "navigate",
    } == event.data
    assert ("pageview", site.name, f"{site.url}/path?colour=1", "/path") == (
        event.event_type,
        event.site_id,
        event.url,
        event.path,
    )


def test_identifiers(site: Site, page: Page) -> None:
    """Events, sessions and visitors have ids that are UUIDs of version 7."""
    page.goto(site.url)
    (event,) = site.stored(1)

    identifiers = [event.event_id, event.session_id, event.visitor_id]
    assert [] == [text for text in identifiers if not UUID7.fullmatch(text)]
    assert 3 == len(set(identifiers))


def test_site_of_host(site: Site, page: Page) -> None:
    """A tag without `data-site` counts for the host name of the page."""
    site.tag = f'<script async src="{site.appliance.url}/tracking.js"></script>'
    site.name = "127.0.0.1"
    page.goto(site.url)

    assert "/" == site.stored(1)[0].path


def test_click(site: Site, page: Page) -> None:
    """A click tells the element, where it leads, and where the pointer was."""
    page.goto(site.url)
    page.evaluate("scrollTo(0, 20)")
    box = page.locator("a.wide").bounding_box()
    assert box
    data = clicked(site, page, "a.wide b")

    positions = data.pop("page"), data.pop("viewport")
    assert {
        "tag": "a",
        "id": "",
        "classes": ["wide", "dark"],
        "text": "The second page",
        "href": f"{site.url}/two#part",
        "selector": "html > body > nav > ul > li:nth-of-type(2) > a",
    } == data
    assert all(box["x"] < place["x"] < box["x"] + box["width"] for place in positions)
    assert 20 == positions[0]["y"] - positions[1]["y"]


def test_click_place(site: Site, page: Page) -> None:
    """A click tells where the pointer was in the page and in the viewport, in pixels and in percent of either."""
    page.goto(site.url)
    page.evaluate("scrollTo(0, 400)")
    height = page.evaluate("document.documentElement.scrollHeight")
    page.mouse.click(750, 350)
    page.goto("about:blank")
    site.stored(3)
    (event,) = site.seen("click")

    assert {"x": 750, "y": 350, "xPercent": 75, "yPercent": 50} == event.data["viewport"]
    assert {"x": 750, "y": 750, "xPercent": 75, "yPercent": 75_000 // height} == event.data["page"]


def test_click_text(site: Site, page: Page) -> None:
    """The text of a control is stored as it reads, in one line."""
    page.goto(site.url)
    data = clicked(site, page, "#buy")

    assert ("#buy", "Buy it now") == (data["selector"], data["text"])


def test_click_in_section(site: Site, page: Page) -> None:
    """A click beside everything stores where, and not all the text around."""
    page.goto(site.url)
    data = clicked(site, page, "#box", {"x": 500, "y": 5})

    assert ("section", "") == (data["tag"], data["text"])


def test_scroll(site: Site, page: Page) -> None:
    """Each quarter of a page is stored once, however often it is passed."""
    page.goto(site.url)
    site.stored(1)
    for share in (0.3, 0, 1, 0, 1):
        page.evaluate("share => scrollTo(0, share * (document.documentElement.scrollHeight - innerHeight))", share)
        page.evaluate("() => new Promise(requestAnimationFrame)")  # the browser tells of a scroll with the next frame
    page.goto("about:blank")
    site.stored(6)

    found = site.seen("scroll")
    assert [25, 50, 75, 100] == sorted(event.data["milestonePercent"] for event in found)
    assert 100 == max(event.data["depthPercent"] for event in found)


def test_visibility(site: Site, page: Page) -> None:
    """Leaving a page stores once that it is hidden."""
    page.goto(site.url)
    site.stored(1)
    page.goto("about:blank")
    site.stored(2)

    assert [{"state": "hidden"}] == [event.data for event in site.seen("visibility")]


def test_focus(site: Site, page: Page) -> None:
    """The window losing and gaining focus is stored, focus moving inside the page is not."""
    page.goto(site.url)
    page.focus("#name")
    page.focus("#buy")
    page.evaluate("dispatchEvent(new FocusEvent('blur')); dispatchEvent(new FocusEvent('focus'))")
    page.goto("about:blank")
    site.stored(4)

    assert ["blur", "focus", "hidden"] == [event.data["state"] for event in site.seen("visibility")]


def test_routes(site: Site, page: Page) -> None:
    """A single-page application's routes are page views, each once, and places in a page are none."""
    page.goto(f"{site.url}/start")
    site.stored(1)
    for step in (
        "history.pushState(null, '', '/products'); document.title = 'Products'",
        "history.pushState(null, '', '/products')",
        "history.replaceState({}, '', '/products?sort=price')",
        "location.hash = '#reviews'",
        "location.hash = '#/settings'",
        "history.go(-2)",
    ):
        page.evaluate(step)
        page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 50))")  # history moves in a later task
    page.goto("about:blank")
    site.stored(6)

    assert [
        ("/start", "A page", "", "navigate"),
        ("/products", "Products", "/start", "pushState"),
        ("/products?sort=price", "Products", "/products", "replaceState"),
        ("/products?sort=price#/settings", "Products", "/products?sort=price", "popstate"),
        ("/products?sort=price", "Products", "/products?sort=price#/settings", "popstate"),
    ] == [
        (
            event.url.removeprefix(site.url),
            event.data["title"],
            event.data["referrer"].removeprefix(site.url),
            event.data["navigationType"],
        )
        for event in site.seen("pageview")
    ]


def test_custom_event(site: Site, page: Page) -> None:
    """A page may tell events of its own, also before the tracker is there."""
    site.tag = "<script>evothesis = function () { (evothesis.q = evothesis.q || []).push(arguments) }; " + (
        "evothesis('event', 'early', {n: 1})</script>" + site.tag
    )
    page.goto(site.url)
    site.stored(2)
    page.evaluate("evothesis('event', 'late', {n: 2}); evothesis('unknown'); evothesis('event', 'broken', {n: 1n})")
    page.goto("about:blank")
    site.stored(4)

    assert [{"name": "early", "properties": {"n": 1}}, {"name": "late", "properties": {"n": 2}}] == [
        event.data for event in site.seen("custom")
    ]


@pytest.mark.parametrize("tags", [1, 2])
def test_tag_twice(site: Site, page: Page, tags: int) -> None:
    """A tag that stands on a page twice counts once."""
    site.tag *= tags
    page.goto(site.url)
    site.stored(1)
    page.goto("about:blank")
    site.stored(2)

    assert 1 == len(site.seen("pageview"))


def test_strict_page(site: Site, context: BrowserContext) -> None:
    """The tracker works under a strict content security policy with trusted types."""
    site.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {site.appliance.url}; connect-src {site.appliance.url}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(site.url)
    page.click("#buy")
    page.goto("about:blank")

    assert ["click", "pageview", "visibility"] == sorted(event.event_type for event in site.stored(3))
    # the page's own inline styles are forbidden too; nothing else was
    assert [] == [text for text in complaints if "inline style" not in text]


def test_prompt_batch(site: Site, page: Page) -> None:
    """While the visitor is active, no event waits much longer than five seconds."""
    page.goto(site.url)
    site.stored(1)
    page.click("#buy")

    def clicks() -> bool:
        page.mouse.move(5, 5)
        page.mouse.move(9, 9)
        return len(site.stored(1)) > 1

    assert eventually(clicks, timeout=8)

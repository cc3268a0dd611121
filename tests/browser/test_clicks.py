"""Clicks: where they lead, whether they do anything, and what a page declares about them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.appliance import eventually
from tests.browser.site import Site, Stored


def after_clicks(site: Site, page: Page, *selectors: str) -> list[Stored]:
    """Click each, leave, and look up all that was stored."""
    page.goto(site.url)
    site.stored(1)
    # the page stays: what a link does is not what is asked here
    page.evaluate("document.addEventListener('click', (event) => event.preventDefault())")
    for selector in selectors:
        page.locator(selector).click()
    page.goto("about:blank")
    site.stored(2 + len(selectors))
    site.appliance.wait_until_drained()
    return site.stored(2 + len(selectors))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('href="https://elsewhere.test/a?b=1"', ["outbound"]),
        ('href="/files/prices.PDF?v=2"', ["download"]),
        ('href="/report" download', ["download"]),
        ('href="https://elsewhere.test/setup.exe"', ["download"]),
        ('href="/pdf"', []),
        ('href="mailto:nobody"', []),
        ('href="#part"', []),
    ],
)
def test_link(site: Site, page: Page, link: str, expected: list[str]) -> None:
    """A link to another host, or to a file, is told beside the click on it."""
    site.body = f"<a id=link {link}>There</a>"
    events = after_clicks(site, page, "#link")

    assert expected == [event.event_type for event in events if event.event_type in {"outbound", "download"}]
    click = next(event.data for event in events if event.event_type == "click")
    for event in events:
        if event.event_type in expected:
            assert {"href": click["href"], "text": "There"} == event.data


def test_attributes(site: Site, page: Page) -> None:
    """The attributes that the tag names are told, of the element or around it, redacted, and no others."""
    site.write_tags(off="engagement vitals dead_click", attributes="data-sku data-list data-note data-none")
    site.body = (
        '<ul data-list="shelf"><li><button id=cup data-sku="C-1" data-price="24" data-note="jane@example.com">'
        "Cup</button></li></ul>"
    )
    (click,) = [event for event in after_clicks(site, page, "#cup") if event.event_type == "click"]

    assert {"data-sku": "C-1", "data-list": "shelf", "data-note": "[email]"} == click.data["attributes"]


def test_middle_button(site: Site, page: Page) -> None:
    """The middle button follows a link into another tab: a click. The right one opens a menu: none."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    page.locator("#buy").click(button="middle")
    page.locator("#box").click(button="right")
    page.goto("about:blank")
    site.stored(3)

    assert ["#buy"] == [event.data["selector"] for event in site.seen("click")]


def test_rage(site: Site, page: Page) -> None:
    """Three clicks on one place within three seconds are told once, two and those on a paragraph are not."""
    events = after_clicks(site, page, "#buy", "#buy", "#greet", "#greet", "#greet", "#greet")

    rage = [event.data for event in events if event.event_type == "rage_click"]
    assert [{"selector": "#greet", "text": "Hello"}] == rage


def test_dead(site: Site, page: Page) -> None:
    """A click on a control after which nothing changes is told; one that changes the page is not."""
    site.write_tags(off="engagement vitals")
    site.body = """<button id=works>Works</button><span id=looks style="cursor: pointer">Looks like a button</span>"""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("() => { document.querySelector('#works').onclick = ({target}) => target.classList.toggle('on') }")
    for selector in ("#works", "#buy", "#name", "#looks", "#box"):
        page.locator(selector).click()
        page.wait_for_timeout(1_700)  # longer than the tracker waits for an effect
    page.goto("about:blank")
    eventually(lambda: len(site.seen("dead_click")) == 2)

    assert ["#buy", "#looks"] == [event.data["selector"] for event in site.seen("dead_click")]


def test_declared(site: Site, page: Page) -> None:
    """`data-track` makes an event of a click on the element or in it, and of a form when it is sent."""
    site.body = """
      <div data-track="offer_open" data-track-offer="spring" data-track-shelf-no="2" data-other="x">
        <button id=open><b id=inner>Open</b></button>
      </div>
      <form data-track="newsletter"><button id=send>Send</button></form>
      <div data-private><button id=hidden data-track="never">Never</button></div>"""
    events = after_clicks(site, page, "#inner", "#hidden", "#send")

    assert [{"name": "offer_open", "properties": {"offer": "spring", "shelf-no": "2"}}] == [
        event.data for event in events if event.event_type == "custom"
    ]
    page.goto(site.url)
    page.evaluate("addEventListener('submit', (event) => event.preventDefault())")
    page.locator("#send").click()
    page.goto("about:blank")
    eventually(lambda: len(site.seen("custom")) == 2)
    assert {"name": "newsletter", "properties": {}} == site.seen("custom")[1].data


def test_texts_off(site: Site, page: Page) -> None:
    """Where the tag switches texts off, a click says where, and not what stood there."""
    site.write_tags(off="engagement vitals dead_click text")
    (click,) = [event for event in after_clicks(site, page, "#buy") if event.event_type == "click"]

    assert ("#buy", "") == (click.data["selector"], click.data["text"])


def test_types_off(site: Site, page: Page) -> None:
    """What the tag switches off is not recorded, and leaves no gap in the numbers."""
    site.write_tags(off="engagement vitals visibility click")
    page.goto(site.url)
    page.wait_for_function("() => window.evothesis")
    page.locator("#buy").click()
    page.evaluate("evothesis('event', 'last', {})")
    page.goto("about:blank")
    events = site.stored(2)

    assert [("pageview", 1), ("custom", 2)] == [(event.event_type, event.sequence) for event in events]

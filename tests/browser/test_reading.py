"""Reading: how long and how far, and what of the text was selected."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.appliance import eventually
from tests.browser.site import Site

SELECT = """(selector) => {
  const place = document.querySelector(selector);
  'select' in place ? place.select() : getSelection().selectAllChildren(place);
}"""


@pytest.fixture
def site(site: Site) -> Site:
    """A site whose pages say how long they were read."""
    site.write_tags(off="vitals dead_click")
    return site


def test_engagement(site: Site, page: Page) -> None:
    """Leaving a page tells how long it had the visitor's attention, and how far it was scrolled at most."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("scrollTo(0, 1000)")
    page.wait_for_timeout(300)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    page.goto("about:blank")
    site.stored(4)

    (event,) = site.seen("engagement")
    assert 600 <= event.data["milliseconds"] < 15_000
    assert 1_700 == event.data["depthPixels"]
    assert 25 < event.data["depthPercent"] < 50


def test_hidden(site: Site, page: Page) -> None:
    """Time in which the page has no focus does not count."""
    page.clock.install()
    page.goto(site.url)
    page.clock.run_for(2_000)
    page.evaluate("Document.prototype.hasFocus = () => false; dispatchEvent(new FocusEvent('blur'))")
    page.clock.run_for(60_000)
    page.goto("about:blank")
    site.stored(4)

    assert [2_000] == [event.data["milliseconds"] // 1_000 * 1_000 for event in site.seen("engagement")]


def test_route(site: Site, page: Page) -> None:
    """Each route of a single-page application has its own time."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("history.pushState(null, '', '/next')")
    page.wait_for_timeout(100)
    page.goto("about:blank")
    site.stored(5)

    assert ["/", "/next"] == [event.path for event in site.seen("engagement")]
    assert [True, True] == [event.data["milliseconds"] > 0 for event in site.seen("engagement")]


def test_selection(site: Site, page: Page) -> None:
    """A selection is told when it stands still: how much, and the text, cut and redacted."""
    site.body = f"<p id=long>{'word ' * 100}</p>"
    page.goto(site.url)
    site.stored(1)
    for selector in ("#long", "#contact"):
        page.evaluate(SELECT, selector)
    eventually(lambda: page.evaluate("String(getSelection())").startswith("Write"))
    page.wait_for_timeout(1_200)
    page.evaluate(SELECT, "#long")
    page.wait_for_timeout(1_200)
    page.goto("about:blank")
    site.stored(5)

    assert [
        {"length": 67, "text": "Write to [email] or pay with [card]."},
        {"length": 499, "text": ("word " * 20)[:100]},
    ] == [event.data for event in site.seen("selection")]


def test_copy(site: Site, page: Page) -> None:
    """Copying is told at once."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate(SELECT, "#box")
    page.keyboard.press("Control+C")
    page.goto("about:blank")
    site.stored(4)

    assert [{"length": 17, "text": "Words More words"}] == [event.data for event in site.seen("copy")]


@pytest.mark.parametrize("selector", ["#name", "#note", "[data-private]", "#greet span"])
def test_unread(site: Site, page: Page, selector: str) -> None:
    """What is selected within a field, an editable part or a private part is not told at all."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    page.evaluate(SELECT, selector)
    page.locator(selector).first.focus() if selector == "#name" else None
    page.keyboard.press("Control+C")
    page.wait_for_timeout(1_200)
    page.goto("about:blank")
    site.stored(3)

    assert ([], []) == (site.seen("selection"), site.seen("copy"))


def test_around_private(site: Site, page: Page) -> None:
    """Of a selection that reaches over a private part only the length is told."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    page.evaluate(SELECT, "#greet")
    page.keyboard.press("Control+C")
    page.goto("about:blank")
    site.stored(4)

    assert [""] == [event.data["text"] for event in site.seen("copy")]
    assert [] == [body for body in site.bodies if b"Jane" in body]


def test_text_off(site: Site, page: Page) -> None:
    """Where the tag switches texts off, only the length is told."""
    site.write_tags(off="vitals text")
    page.goto(site.url)
    site.stored(1)
    page.evaluate(SELECT, "#box")
    page.keyboard.press("Control+C")
    page.goto("about:blank")
    site.stored(4)

    assert [{"length": 17, "text": ""}] == [event.data for event in site.seen("copy")]

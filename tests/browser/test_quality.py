"""Quality: what goes wrong on a page, and how fast it is."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from tests.browser.site import Site

BREAK = """() => {
  const later = (step, wait = 0) => setTimeout(step, wait);
  const fail = () => { throw new Error('no cup for jane@example.com') };
  for (let n = 0; n < 3; n++) later(fail);
  later(() => Promise.reject(new TypeError('late')));
  for (let n = 0; n < 30; n++) later(() => { null['loop' + n]() }, 100);
  document.body.append(Object.assign(new Image(), { src: '/missing.png' }));
  return new Promise((resolve) => setTimeout(resolve, 500));
}"""


def test_errors(site: Site, context: BrowserContext) -> None:
    """Errors of the page are told, each once, redacted, at most ten of a page."""
    page = context.new_page()
    page.goto(f"{site.url}/page?token=abc")
    site.stored(1)
    page.evaluate(BREAK)
    page.goto("about:blank")
    site.stored(12)

    errors = [event.data for event in site.seen("error")]
    messages = [error["message"] for error in errors]
    assert (10, 10) == (len(messages), len(set(messages)))
    assert [True, True] == [any(text in message for message in messages) for text in ("no cup for [email]", "late")]
    assert all(type(error["line"]) is int for error in errors if "loop" in error["message"])


def test_vitals(site: Site, context: BrowserContext) -> None:
    """Leaving a page tells its web vitals, once."""
    site.write_tags(off="engagement dead_click")
    site.body = "<button id=slow>Slow</button><p id=below>Below</p>"
    page = context.new_page()
    page.goto(site.url)
    page.evaluate("""document.querySelector('#slow').onclick = () => {
      for (const end = performance.now() + 120; performance.now() < end; );
    }""")
    page.locator("#slow").click()
    page.wait_for_timeout(700)  # what moves soon after a click is what the visitor wanted
    page.evaluate("document.querySelector('nav').style.height = '300px'")
    page.wait_for_timeout(300)
    page.goto("about:blank")
    site.stored(4)

    (event,) = site.seen("vitals")
    assert {"ttfb", "fcp", "lcp", "cls", "inp"} == set(event.data)
    assert 120 <= event.data["inp"] < 2_000
    assert 0 < event.data["cls"] < 1
    assert 0 <= event.data["ttfb"] <= event.data["fcp"] <= event.data["lcp"] < 10_000


def test_vitals_of_a_still_page(site: Site, context: BrowserContext) -> None:
    """A page on which nothing moved has a layout shift of zero; without interaction there is no delay."""
    site.write_tags(off="engagement dead_click")
    page = context.new_page()
    page.goto(site.url)
    site.stored(1)
    page.goto("about:blank")
    site.stored(3)

    (event,) = site.seen("vitals")
    assert (0, False) == (event.data["cls"], "inp" in event.data)


@pytest.mark.parametrize("query", ["q", "s", "query", "search", "keyword"])
def test_search(site: Site, context: BrowserContext, query: str) -> None:
    """A page that was searched for tells what for, redacted."""
    page = context.new_page()
    page.goto(f"{site.url}/find?page=2&{query}=cups+of+jane@example.com&sq=1")
    page.goto("about:blank")
    site.stored(3)

    assert [{"parameter": query, "term": "cups of [email]"}] == [event.data for event in site.seen("search")]


def test_no_search(site: Site, context: BrowserContext) -> None:
    """A page whose search is empty, or that has none, tells nothing."""
    page = context.new_page()
    page.goto(f"{site.url}/find?q=&sorting=price")
    page.goto("about:blank")
    site.stored(2)

    assert [] == site.seen("search")

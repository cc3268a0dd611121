"""Consent: what a visitor has not agreed to neither leaves the page nor stays on the device."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.appliance import eventually
from tests.browser.site import Site

STUB = "<script>window.evothesis ??= function () { (evothesis.q ??= []).push(arguments) }; %s</script>"
OFF = "engagement vitals dead_click"


def device(page: Page) -> dict[str, Any]:
    """What is kept on it."""
    kept: dict[str, Any] = page.evaluate("({...localStorage, ...sessionStorage, cookie: document.cookie})")
    return kept


def visit(site: Site, page: Page, consent: str) -> None:
    """Come, and do something, under a consent that the tag says."""
    site.write_tags(off=OFF, consent=consent)
    site.tag = site.own_tag
    page.goto(site.url)
    page.wait_for_function("() => window.evothesis?.loaded")
    page.locator("#buy").click()
    page.evaluate("for (let n = 0; n < 12; n++) evothesis('event', 'waiting', {n})")


def test_pending(site: Site, page: Page) -> None:
    """While the visitor has not decided nothing is sent and nothing is stored, also when the page is left."""
    visit(site, page, "pending")
    kept = device(page)
    page.goto("about:blank")

    assert ({"cookie": ""}, []) == (kept, site.bodies)


def test_granted(site: Site, page: Page) -> None:
    """What happened before the visitor agreed is sent then, once, in its order."""
    visit(site, page, "pending")
    page.evaluate("evothesis('consent', 'granted')")
    events = site.stored(14)
    page.evaluate("evothesis('event', 'after', {})")
    page.goto("about:blank")
    site.stored(16)

    assert list(range(1, 15)) == [event.sequence for event in events]
    assert (1, 1) == (len({event.visitor_id for event in events}), len({event.session_id for event in events}))
    assert ["after"] == [event.data["name"] for event in site.seen("custom") if event.data["name"] != "waiting"]


def test_granted_again(site: Site, page: Page) -> None:
    """A visitor who agrees on every page is the same one on every page."""
    for count in (14, 29):
        visit(site, page, "pending")
        page.evaluate("evothesis('consent', 'granted')")
        site.stored(count)

    assert 1 == len({event.visitor_id for event in site.seen("pageview")})


def test_denied(site: Site, page: Page) -> None:
    """What happened before the visitor refused is dropped, and so is what happens after, and what was stored before."""
    page.goto(site.url)
    site.stored(1)
    before = len(site.seen("custom"))
    visit(site, page, "pending")
    page.evaluate("evothesis('consent', 'denied'); evothesis('event', 'refused', {})")
    kept = device(page)
    page.goto("about:blank")

    assert ({"cookie": ""}, [], 0) == (kept, site.bodies, before)


def test_denied_by_tag(site: Site, page: Page) -> None:
    """A tag may refuse until the page says otherwise; only what follows is recorded."""
    visit(site, page, "denied")
    page.evaluate("evothesis('consent', 'granted'); evothesis('event', 'agreed', {})")
    page.goto("about:blank")
    site.stored(2)

    assert ["agreed"] == [event.data["name"] for event in site.seen("custom")]


def test_said_early(site: Site, page: Page) -> None:
    """What the page says before the tracker is there holds from the first event on."""
    site.tag = STUB % "evothesis('event', 'early', {}); evothesis('consent', 'pending')" + site.own_tag
    page.goto(site.url)
    page.wait_for_function("() => window.evothesis.loaded")
    page.wait_for_timeout(1_200)  # a page view would have been sent by now
    nothing = device(page), site.bodies.copy()
    page.evaluate("evothesis('consent', 'granted')")
    events = site.stored(2)

    assert ({"cookie": ""}, []) == nothing
    assert ["pageview", "custom"] == [event.event_type for event in events]


def test_opt_out(site: Site, page: Page) -> None:
    """Who opts out is not recorded on this site again, whatever the pages say, until they opt in."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("evothesis('optOut')")
    assert {"cookie": "", "evothesis.optout": "1"} == device(page)
    visit(site, page, "granted")
    page.evaluate("evothesis('consent', 'granted'); evothesis('event', 'unheard', {})")
    assert ({"cookie": "", "evothesis.optout": "1"}, []) == (device(page), site.bodies)
    page.evaluate("evothesis('optOut', false); evothesis('event', 'heard', {})")
    page.goto("about:blank")
    eventually(lambda: site.seen("custom"))

    assert ["heard"] == [event.data["name"] for event in site.seen("custom")]


def test_identify(site: Site, page: Page) -> None:
    """A page may tell who the visitor is to it."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("evothesis('identify', 'customer-7', {plan: 'gold'})")
    page.goto("about:blank")
    site.stored(3)

    assert [{"userId": "customer-7", "traits": {"plan": "gold"}}] == [event.data for event in site.seen("identify")]

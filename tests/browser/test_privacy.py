"""What a visitor did not agree to, typed, or may not be shown never leaves the device."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import MakeProfile
from tests.browser.site import Site

# every browser that has the signal sets this property; Chromium has no setting for it
GLOBAL_PRIVACY_CONTROL = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"


def visit(site: Site, page: Page) -> dict[str, Any]:
    """Do everything that is tracked; what the device keeps of it."""
    site.tag = site.own_tag
    page.goto(site.url)
    page.wait_for_function("() => Boolean(window.evothesis)")
    page.evaluate("evothesis('event', 'asked', {})")
    page.click("#buy")
    page.mouse.wheel(0, 9_000)
    kept: dict[str, Any] = page.evaluate("({...localStorage, ...sessionStorage, cookie: document.cookie})")
    page.goto("about:blank")
    return kept


def test_global_privacy_control(site: Site, page: Page) -> None:
    """Under Global Privacy Control nothing is stored on the device and nothing is sent."""
    page.add_init_script(GLOBAL_PRIVACY_CONTROL)

    assert {"cookie": ""} == visit(site, page)
    assert [] == site.bodies


def test_do_not_track(site: Site, make_profile: MakeProfile) -> None:
    """Under Do Not Track nothing is stored on the device and nothing is sent."""
    context = make_profile({"enable_do_not_track": True})

    assert {"cookie": ""} == visit(site, context.new_page())
    assert [] == site.bodies


def test_refusing_later(site: Site, context: BrowserContext) -> None:
    """Who refuses after an earlier visit loses what was stored on the device then."""
    page = context.new_page()
    assert "evothesis.visitor" in visit(site, page) or site.stored(1)
    page.add_init_script(GLOBAL_PRIVACY_CONTROL)

    assert {"cookie": ""} == visit(site, page)


def test_no_cookie(site: Site, context: BrowserContext) -> None:
    """No cookie is set, for the site or for the collector."""
    page = context.new_page()
    page.goto(site.url)
    site.stored(1)

    assert [] == context.cookies([site.url, site.appliance.url])


def test_blocked_storage(site: Site, make_profile: MakeProfile) -> None:
    """Where the browser blocks storage the page works, and its events arrive in one session."""
    context = make_profile({"profile": {"default_content_setting_values": {"cookies": 2}}})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(site.url)
    site.stored(1)
    with pytest.raises(Exception, match="Access is denied"):
        page.evaluate("localStorage.length")
    page.click("#buy")
    page.goto("about:blank")
    events = site.stored(3)

    assert ([], ["click", "pageview", "visibility"]) == (errors, sorted(event.event_type for event in events))
    assert 1 == len({(event.session_id, event.visitor_id) for event in events})


def test_redaction(site: Site, page: Page) -> None:
    """E-mail addresses and card-like numbers are taken out of texts, titles and addresses before they are sent."""
    site.tag = site.own_tag
    site.title = "Order of jane@example.com, 4111-1111-1111-1111"
    page.goto(f"{site.url}/jane%40example.com?to=jane@example.com&order=4006381333931")
    page.click("#contact")
    page.goto("about:blank")
    site.stored(3)
    (view,), (click,) = site.seen("pageview"), site.seen("click")

    assert "Order of [email], [card]" == view.data["title"]
    assert f"{site.url}/[email]?to=[email]&order=4006381333931" == view.url
    assert "Write to [email] or pay with [card]." == click.data["text"]
    assert [] == [body for body in site.bodies if b"jane" in body or b"4111" in body]


def test_tokens(site: Site, page: Page) -> None:
    """Tokens are taken out of addresses by the names of their parameters, and signed ones wherever they stand."""
    site.tag = site.own_tag
    signed = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    page.goto(f"{site.url}/{signed}?page=2&access_token=s3cret-1&Password=s3cret-2&token_count=3&gclid=abc")
    page.goto("about:blank")
    site.stored(2)
    (view,) = site.seen("pageview")

    # what the page has left of the parameters the server redacts by their names
    assert f"{site.url}/[token]?page=2&access_token=[redacted]&Password=[redacted]&token_count=3&gclid=abc" == view.url
    assert [] == [body for body in site.bodies if b"s3cret" in body or b"eyJ" in body]


@pytest.mark.parametrize(("selector", "text"), [("#name", ""), ("#note i", ""), ("#greet", "Hello"), ("label", "Name")])
def test_unread(site: Site, page: Page, selector: str, text: str) -> None:
    """What a field, an editable part or a private part holds is not in the text of a click on or around it."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    page.fill("#name", "typed by hand")
    page.locator(selector).click(position={"x": 2, "y": 2})
    page.goto("about:blank")
    site.stored(3)

    assert text == site.seen("click")[0].data["text"]
    assert [] == [body for body in site.bodies if any(word in body for word in (b"typed", b"prefilled", b"Jane"))]


def test_private_part(site: Site, page: Page) -> None:
    """A click inside `data-private` is not recorded at all."""
    page.goto(site.url)
    site.stored(1)
    page.click("#secret")
    page.goto("about:blank")
    site.stored(2)

    assert [] == site.seen("click")

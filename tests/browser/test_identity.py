"""Who it is: numbered events of a view, pages without memory, and visitors who go to another domain of the owner."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.appliance import eventually
from tests.browser.site import Site


def test_numbers(site: Site, page: Page) -> None:
    """The events of a view name its page view and are numbered without a gap; a route starts anew."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("for (let n = 0; n < 15; n++) evothesis('event', 'numbered', {n})")
    page.evaluate("history.pushState(null, '', '/next')")
    page.wait_for_timeout(50)
    page.evaluate("evothesis('event', 'numbered', {n: 15})")
    page.goto("about:blank")
    events = site.stored(19)

    first, second = site.seen("pageview")
    assert [(first.event_id, number) for number in range(1, 17)] == [
        (event.view_id, event.sequence) for event in events[:16]
    ]
    assert [(second.event_id, number) for number in range(1, 4)] == [
        (event.view_id, event.sequence) for event in events[16:]
    ]


def test_loss(site: Site, page: Page) -> None:
    """What a device lost is known by its numbers, by site and day."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    site.fault = "busy"
    page.evaluate("for (let n = 0; n < 10; n++) evothesis('event', 'lost', {n})")
    eventually(lambda: len(site.bodies) > 1)
    page.evaluate("localStorage.clear()")
    site.fault = ""
    page.wait_for_timeout(3_500)  # the site has asked to be left alone for three seconds
    page.goto("about:blank")
    site.stored(2)
    site.appliance.wait_until_drained()

    query = "select sent, received, lost from tracker_loss where site_id = %s"
    assert [{"sent": 12, "received": 2, "lost": 10}] == site.appliance.rows(query, [site.name])


def test_cookieless(site: Site, page: Page) -> None:
    """Without memory nothing is stored on the device, what was is deleted, and ids live as long as the page."""
    page.goto(site.url)
    site.stored(1)
    site.write_tags(off="engagement vitals dead_click", cookieless="")
    for _ in range(2):
        page.goto(site.url)
        page.wait_for_function("() => window.evothesis")
        page.evaluate("for (let n = 0; n < 12; n++) evothesis('event', 'forgotten', {n})")
        assert {} == page.evaluate("({...localStorage, ...sessionStorage})")
    page.goto("about:blank")
    events = site.stored(29)

    views = {event.view_id: (event.visitor_id, event.session_id) for event in events}
    assert (3, 3, 3) == (len(views), *(len(set(ids)) for ids in zip(*views.values(), strict=True)))
    assert 3 == len({(event.view_id, event.visitor_id, event.session_id) for event in events})


def visit_both(site: Site, other: Site, page: Page, link: str) -> None:
    """Follow a link from one domain to the other."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate(f"document.querySelector('nav a').href = {link!r}")
    page.locator("nav a").first.click()
    page.wait_for_url("**/arrival*")
    other.stored(1)


def test_hand_over(site: Site, page: Page) -> None:
    """A visitor who follows a link to a domain that the tag names is the same visitor in the same session there."""
    with Site(site.appliance) as other:
        other.url = other.url.replace("127.0.0.1", "localhost")
        for one in (site, other):
            one.write_tags(off="engagement vitals dead_click", domains="127.0.0.1 localhost")
        visit_both(site, other, page, f"{other.url}/arrival?item=cup#reviews")

        (here,), (there,) = site.seen("pageview"), other.seen("pageview")
        assert (here.visitor_id, here.session_id) == (there.visitor_id, there.session_id)
        assert f"{other.url}/arrival?item=cup" == there.url
        assert f"{other.url}/arrival?item=cup#reviews" == page.url
        assert f"{other.url}/arrival?item=cup#reviews" == site.seen("click")[0].data["href"]


def test_no_hand_over(site: Site, page: Page) -> None:
    """A domain that the tag does not name learns nothing."""
    with Site(site.appliance) as other:
        other.url = other.url.replace("127.0.0.1", "localhost")
        site.write_tags(off="engagement vitals dead_click", domains="ocalhost shop.localhost")
        visit_both(site, other, page, f"{other.url}/arrival")

        assert site.seen("pageview")[0].visitor_id != other.seen("pageview")[0].visitor_id
        assert f"{other.url}/arrival" == page.url


def test_forged_hand_over(site: Site, page: Page) -> None:
    """An address that names a visitor is believed only when it comes from a domain that the tag names, and at once."""
    site.write_tags(off="engagement vitals dead_click", domains="127.0.0.1")
    now = page.evaluate("Date.now()")
    arrivals = [(now, "http://elsewhere.test/"), (now, ""), (now - 3_600_000, "http://127.0.0.1/")]
    for number, (at, referrer) in enumerate(arrivals, 1):
        page.goto(f"{site.url}/?evothesis=visitor.session.{at}", referer=referrer)
        site.stored(number)

    assert [] == [event for event in site.seen("pageview") if event.visitor_id == "visitor"]
    assert {f"{site.url}/"} == {event.url for event in site.seen("pageview")}

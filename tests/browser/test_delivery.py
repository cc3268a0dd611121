"""What was recorded arrives, once: closed tabs, a collector that is away, busy or unheard, storage that is full."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
from playwright.sync_api import BrowserContext, Page

from tests.appliance import eventually
from tests.browser.site import Site, Stored

FILL_STORAGE = """<script>
for (let text = 'x'.repeat(2 ** 22); text; text = text.slice(Math.ceil(text.length / 2))) {
  try { localStorage[`fill.${text.length}`] = text; } catch {}
}
before = JSON.stringify(localStorage);
</script>"""


def queued(page: Page) -> list[str]:
    """The keys of the batches that wait on the device."""
    keys: list[str] = page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('evothesis.batch.'))")
    return keys


def wait_until_sent(page: Page) -> None:
    """Return when the device keeps nothing back."""
    eventually(lambda: not queued(page), timeout=30, message="batches stay on the device")


def types(events: list[Stored]) -> dict[str, int]:
    """How many events there are of each type."""
    return dict(Counter(event.event_type for event in events))


def test_tab_closed_at_once(site: Site, context: BrowserContext) -> None:
    """A click is stored although the tab is closed right after it."""
    page = context.new_page()
    page.goto(site.url)
    site.stored(1)
    page.click("#buy")
    page.close()

    assert {"pageview": 1, "click": 1, "visibility": 1} == types(site.stored(3, timeout=5))


def test_tab_closed_before_the_pageview(site: Site, context: BrowserContext) -> None:
    """A page view is stored although the tab is closed before its batch was due."""
    page = context.new_page()
    page.goto(site.url)
    page.close()

    assert {"pageview": 1, "visibility": 1} == types(site.stored(2, timeout=5))


def test_ten_events_leave_at_once(site: Site, page: Page) -> None:
    """The tenth event of a batch sends it."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("for (let n = 0; n < 10; n++) evothesis('event', 'burst', {n})")

    # without activity these would wait for a minute
    assert {"pageview": 1, "custom": 10} == types(site.stored(11, timeout=5))


def test_batches_fit_into_a_beacon(site: Site, page: Page) -> None:
    """No batch is larger than what a browser sends for a page that is going away, in any script."""
    site.tag = site.own_tag
    page.goto(site.url)
    site.stored(1)
    page.evaluate("for (let n = 0; n < 9; n++) evothesis('event', 'large', {text: 'å'.repeat(9_000)})")
    page.goto(site.url)  # together they are too much for the page that goes: the next one sends the rest
    wait_until_sent(page)

    assert max(map(len, site.bodies)) < 64 * 1024
    assert {"pageview": 2, "custom": 9, "visibility": 1} == types(site.stored(12))


def test_collector_away(frail_site: Site, page: Page) -> None:
    """What happens while the collector is away is stored once when it is back, without the page being loaded again."""
    page.goto(frail_site.url)
    frail_site.stored(1)
    frail_site.appliance.stop()
    page.evaluate("for (let n = 0; n < 25; n++) evothesis('event', 'away', {n})")
    eventually(lambda: 2 == len(queued(page)))
    frail_site.appliance.start()
    page.goto(frail_site.url)
    wait_until_sent(page)

    events = frail_site.stored(28)
    assert list(range(25)) == sorted(event.data["properties"]["n"] for event in events if event.event_type == "custom")
    assert {"pageview": 2, "custom": 25, "visibility": 1} == types(events)


def test_collector_back_on_open_page(frail_site: Site, page: Page) -> None:
    """An open page tries again by itself."""
    page.goto(frail_site.url)
    frail_site.stored(1)
    frail_site.appliance.stop()
    page.evaluate("for (let n = 0; n < 10; n++) evothesis('event', 'away', {n})")
    eventually(lambda: queued(page))
    frail_site.appliance.start()
    wait_until_sent(page)

    assert {"pageview": 1, "custom": 10} == types(frail_site.stored(11))


def test_closed_while_collector_away(frail_site: Site, context: BrowserContext) -> None:
    """What a closed tab could not send is stored once after the next visit."""
    page = context.new_page()
    page.goto(frail_site.url)
    frail_site.stored(1)
    frail_site.appliance.stop()
    page.click("#buy")
    page.close()
    frail_site.appliance.start()
    page = context.new_page()
    page.goto(frail_site.url)
    wait_until_sent(page)

    assert {"pageview": 2, "click": 1, "visibility": 1} == types(frail_site.stored(4))


def test_lost_answer(site: Site, page: Page) -> None:
    """When the answer is lost on its way back, the same bytes are sent again and stored once."""
    site.tag = site.own_tag
    site.fault = "lost"
    page.goto(site.url)
    eventually(lambda: len(site.bodies) >= 2)
    site.fault = ""
    wait_until_sent(page)

    assert 1 == len(set(site.bodies))
    assert {"pageview": 1} == types(site.seen("pageview"))


def test_retry_after(site: Site, page: Page) -> None:
    """A collector that asks for time is left alone for as long as it asked."""
    site.tag = site.own_tag
    site.fault = "busy"
    page.goto(site.url)
    eventually(lambda: site.bodies)
    asked_at = time.monotonic()
    site.fault = ""
    page.evaluate("for (let n = 0; n < 10; n++) evothesis('event', 'meanwhile', {n})")
    eventually(lambda: len(site.bodies) > 1)

    assert 2.5 < time.monotonic() - asked_at < 6
    assert {"pageview": 1, "custom": 10} == types(site.stored(11))


def test_refused_batch_is_not_repeated(site: Site, page: Page) -> None:
    """A batch that the collector will never take does not block those behind it."""
    page.goto(site.url)
    site.stored(1)
    page.evaluate("localStorage['evothesis.batch.01900000-0000-7000-8000-000000000000.1'] = 'not JSON'")
    page.evaluate("const now = Date.now; Date.now = () => Date.UTC(2024, 5, 9, 20)")
    page.evaluate("for (let n = 0; n < 10; n++) evothesis('event', 'behind', {n})")
    wait_until_sent(page)

    assert 10 == len(site.seen("custom"))


def test_bounded_queue(frail_site: Site, page: Page) -> None:
    """The device keeps the newest 256 kB, and the next page view tells how many events were dropped."""
    page.goto(frail_site.url)
    frail_site.stored(1)
    frail_site.appliance.stop()
    page.evaluate("for (let n = 0; n < 250; n++) evothesis('event', 'away', {n, text: 'x'.repeat(2_000)})")
    kept = sum(int(key.rpartition(".")[2]) for key in queued(page))
    length = sum(page.evaluate("(keys) => keys.map((key) => localStorage[key].length)", queued(page)))
    given_up = int(page.evaluate("localStorage['evothesis.dropped']"))
    frail_site.appliance.start()
    page.goto(frail_site.url)
    wait_until_sent(page)

    numbers = {event.data["properties"]["n"] for event in frail_site.seen("custom")}
    assert (250, True) == (kept + given_up, 230_000 < length <= 262_144)
    assert set(range(given_up + 10, 250)) <= numbers
    (dropped,) = [event.data["dropped"] for event in frail_site.seen("pageview") if "dropped" in event.data]
    assert 250 - len(numbers) <= dropped  # one that went while its page did may arrive although it was given up


def test_two_tabs(site: Site, context: BrowserContext) -> None:
    """Two tabs are one visitor in one session, and send nothing twice."""
    site.tag = site.own_tag
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(site.url)
    site.stored(2)
    for tab in tabs:
        tab.evaluate("for (let n = 0; n < 30; n++) evothesis('event', 'both', {n})")
    wait_until_sent(tabs[0])

    events = site.stored(62)
    assert (1, 1) == (len({event.session_id for event in events}), len({event.visitor_id for event in events}))
    assert {"pageview": 2, "custom": 60} == types(events)
    assert len(site.bodies) == len(set(site.bodies))


def test_session_ends(site: Site, page: Page) -> None:
    """After half an hour without activity the same visitor starts another session."""
    page.clock.install()
    page.goto(site.url)
    page.clock.run_for(1_500)
    site.stored(1)
    page.clock.fast_forward("29:00")
    page.goto(site.url)
    page.clock.run_for(1_500)
    site.stored(3)
    page.clock.fast_forward("31:00")
    page.goto(site.url)
    page.clock.run_for(1_500)
    site.stored(5)

    views = site.seen("pageview")
    sessions = [event.session_id for event in views]
    assert (True, False) == (sessions[0] == sessions[1], sessions[1] == sessions[2])
    assert 1 == len({event.visitor_id for event in views})


def test_full_storage(site: Site, page: Page) -> None:
    """Where the site has filled its storage the tracker works from memory, and leaves what is the site's."""
    site.tag = FILL_STORAGE + site.tag
    page.goto(site.url)
    site.stored(1)
    unchanged = page.evaluate("before === JSON.stringify(localStorage)")
    page.click("#buy")
    page.goto("about:blank")
    events = site.stored(3)

    assert {"pageview": 1, "click": 1, "visibility": 1} == types(events)
    assert (1, True) == (len({event.session_id for event in events}), unchanged)


def test_sent_as_the_contract_says(site: Site, page: Page) -> None:
    """A batch names what its events share once, and needs no preflight."""
    site.tag = site.own_tag
    page.goto(site.url)
    (event,) = site.stored(1)
    batch = msgspec.json.decode(site.bodies[0])

    assert ["eventType", "batchId", "sentAt", "sessionId", "visitorId", "siteId", "events"] == list(batch)
    assert ["eventType", "eventId", "timestamp", "url", "path", "data"] == list(batch["events"][0])
    assert (event.event_id, event.session_id) == (batch["events"][0]["eventId"], batch["sessionId"])

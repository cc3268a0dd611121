"""Origins: what a browser makes of the collector's CORS headers, on a page of the list, on another one, by beacon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import tomli_w
from playwright.sync_api import BrowserContext, Page

from evothesis.collector.script import Script
from tests.appliance import eventually
from tests.browser.site import Site
from tests.fix_appliance import MakeAppliance

QUEUED = "Object.keys(localStorage).filter((key) => key.startsWith('evothesis.batch.')).length"


@pytest.fixture
def listed_site(make_appliance: MakeAppliance) -> Iterator[Site]:
    """A site that is the only one whose pages may send."""
    appliance = make_appliance(start=False)
    with Site(appliance) as site:
        server = appliance.settings["server"] | {"origins": [site.url]}
        appliance.config_path.write_text(tomli_w.dumps({**appliance.settings, "server": server}))
        appliance.start()
        yield site


def test_listed(listed_site: Site, page: Page) -> None:
    """A page on the list sends, and hears that its batch was taken; another one is refused, and keeps its batch."""
    page.goto(listed_site.url)
    listed_site.stored(1)
    eventually(lambda: page.evaluate(QUEUED) == 0)
    with page.expect_console_message(lambda message: "CORS" in message.text):
        page.goto(listed_site.url.replace("127.0.0.1", "localhost"))

    assert 1 == page.evaluate(QUEUED)
    assert ["pageview", "visibility"] == sorted(event.event_type for event in listed_site.stored(2))


@pytest.mark.parametrize("name", ["site", "listed_site"])
def test_beacon(name: str, context: BrowserContext, request: pytest.FixtureRequest) -> None:
    """A browser without `fetch` that outlives its page sends a beacon, with credentials, and asks for no leave."""
    site: Site = request.getfixturevalue(name)
    context.add_cookies([{"name": "a", "value": "b", "url": site.appliance.url}])
    context.add_init_script("delete Request.prototype.keepalive")
    page = context.new_page()
    page.goto(site.url)
    site.stored(1)
    page.click("#buy")
    page.close()

    assert {"pageview": 1, "click": 1, "visibility": 1} == Counter(event.event_type for event in site.stored(3))


def test_integrity(site: Site, page: Page) -> None:
    """A browser runs the tag that names a hash, and does not when the hash is that of another script."""
    script, other = (Script.load(script_path="/tracking.js", collect_path=path) for path in ("/collect", "/other"))
    site.tag = script.tag(site.appliance.url).replace("<script", f'<script data-site="{site.name}"')
    page.goto(site.url)
    page.click("#buy")
    page.goto("about:blank")
    site.stored(3)
    assert 1 == len(site.seen("click"))
    site.tag = site.tag.replace(script.integrity, other.integrity)
    page.goto(site.url)

    assert "undefined" == page.evaluate("typeof evothesis")

"""Firefox and WebKit: the main test in browsers that are not Chromium, and two tabs where there are no locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from tests.appliance import eventually
from tests.browser.engines import ENGINES
from tests.browser.site import Site

WAITING = "return Object.keys(localStorage).filter((key) => key.startsWith('evothesis.batch.')).length"


@pytest.mark.parametrize("engine", ENGINES)
def test_visit(site: Site, engine: str, tmp_path: Path) -> None:
    """A page view, a click, scrolling, an event of the page's own and closing the tab: each is stored once."""
    site.write_tags()
    site.tag = site.own_tag
    with ENGINES[engine](tmp_path / "profile") as (driver, _):
        first = driver.current_window_handle
        driver.switch_to.new_window("window")  # of a tab WebKit's driver shows nothing
        driver.get(f"{site.url}/start?q=cups")
        site.stored(1)
        driver.find_element(By.ID, "buy").click()
        driver.execute_script("scrollTo(0, document.documentElement.scrollHeight)")
        driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 100))")
        driver.execute_script("evothesis('event', 'told', {n: 1})")
        driver.close()
        site.stored(11)
        driver.switch_to.window(first)

    site.appliance.wait_until_drained()
    events = site.stored(11)
    assert ["pageview", "search", "click", *["scroll"] * 4, "custom", "vitals", "engagement", "visibility"] == [
        event.event_type for event in events
    ]
    assert list(range(1, 12)) == [event.sequence for event in events]
    assert 1 == len({(event.view_id, event.visitor_id, event.session_id) for event in events})


def open_two(driver: WebDriver, url: str) -> list[str]:
    """Open the page in two windows; their handles."""
    tabs = []
    for _ in range(2):
        driver.switch_to.new_window("window")
        driver.get(url)
        tabs.append(driver.current_window_handle)
    return tabs


@pytest.mark.parametrize("engine", ENGINES)
def test_two_tabs_without_locks(site: Site, engine: str, tmp_path: Path) -> None:
    """Without https two tabs are one session too, and send nothing twice, however slow the collector is."""
    site.write_tags(off="engagement vitals dead_click visibility")
    site.tag = site.own_tag
    site.fault = "slow"
    with ENGINES[engine](tmp_path / "profile", proxy=site.url.removeprefix("http://")) as (driver, _):
        tabs = open_two(driver, f"http://{site.name}/")
        for tab in tabs:
            driver.switch_to.window(tab)
            assert [False, "undefined"] == driver.execute_script("return [isSecureContext, typeof navigator.locks]")
            driver.execute_script("for (let n = 0; n < 19; n++) evothesis('event', 'both', {n})")
        eventually(lambda: driver.execute_script(WAITING) == 0, timeout=60, message="batches stay on the device")

    site.appliance.wait_until_drained()
    events = site.stored(40)
    assert (1, 1) == (len({event.session_id for event in events}), len({event.visitor_id for event in events}))
    assert (2, 38) == (len(site.seen("pageview")), len(site.seen("custom")))
    assert len(site.bodies) == len(set(site.bodies))

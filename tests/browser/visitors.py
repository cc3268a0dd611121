"""Visitors: they open pages, close tabs, and lose their browser, in the same words with each engine."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol, Self

from playwright.sync_api import Error, Page, Playwright
from selenium.common.exceptions import WebDriverException

from tests import processes
from tests.browser.engines import CHROMIUM_ARGUMENTS, ENGINES, chromium

# of the batches that a page's site keeps on the device; -1 while there is no page to be asked
WAITING = """
  window.evothesis?.loaded ? Object.keys(localStorage).filter((key) => key.startsWith('evothesis.batch.')).length : -1
"""


class Visitor(Protocol):
    """Somebody with one page open at a time, on a device that remembers."""

    def __enter__(self) -> Self:
        """Start the browser."""

    def __exit__(self, *_: object) -> None:
        """End it."""

    def open(self, url: str) -> None:
        """Begin to load a page, in a tab of its own."""

    def close(self) -> None:
        """Close that tab."""

    def kill(self) -> None:
        """SIGKILL the browser, and start it again."""

    def waiting(self) -> int:
        """How many batches the device keeps; -1 while that cannot be asked."""


class ChromiumVisitor:
    """Chromium, by Playwright."""

    def __init__(self, playwright: Playwright, profile: Path) -> None:
        self._playwright = playwright
        self._profile = profile

    def __enter__(self) -> Self:
        self._context = self._playwright.chromium.launch_persistent_context(
            self._profile, executable_path=chromium(), args=CHROMIUM_ARGUMENTS
        )
        self._tab: Page = self._context.pages[0]  # it stays, so that the browser does
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Error):  # it was killed
            self._context.close()

    def open(self, url: str) -> None:
        """Return when the server has answered."""
        self._tab = self._context.new_page()
        self._tab.goto(url, wait_until="commit")

    def close(self) -> None:
        """Leave the page as people do."""
        self._tab.close()

    def kill(self) -> None:
        """Find the process by the folder that no other browser has."""
        (pid,) = [
            pid
            for pid, title in processes.with_argument(f"--user-data-dir={self._profile}").items()
            if "--type=" not in title
        ]
        os.kill(pid, signal.SIGKILL)
        self.__exit__()
        self.__enter__()

    def waiting(self) -> int:
        """Ask the page."""
        with suppress(Error):
            return int(self._tab.evaluate(WAITING))
        return -1


class DrivenVisitor:
    """Firefox or WebKit, by selenium."""

    def __init__(self, engine: str, profile: Path) -> None:
        self._engine = ENGINES[engine]
        self._profile = profile

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._driver, self._pid = self._stack.enter_context(self._engine(self._profile))
        self._first = self._driver.current_window_handle  # it stays, so that the browser does
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, url: str) -> None:
        """Return at once."""
        self._driver.switch_to.new_window("window")  # of a tab WebKit's driver shows nothing
        self._driver.execute_script("location.href = arguments[0]", url)

    def close(self) -> None:
        """Leave the page as people do."""
        self._driver.close()
        self._driver.switch_to.window(self._first)

    def kill(self) -> None:
        """A browser that keeps nothing when it is driven begins anew."""
        os.kill(self._pid, signal.SIGKILL)
        self.__exit__()
        self.__enter__()

    def waiting(self) -> int:
        """Ask the page."""
        with suppress(WebDriverException):
            count: int | None = self._driver.execute_script(f"return {WAITING.strip()}")
            return -1 if count is None else count  # Firefox knows of nothing while another page comes
        return -1

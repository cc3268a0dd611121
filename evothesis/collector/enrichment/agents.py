"""Agents: a user agent in, its browser, operating system and kind of device out.

Names and versions are those of uap-core (https://github.com/ua-parser/uap-core). It knows models of devices, not what
kind they are, so that its patterns for devices, two thirds of all, are not loaded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import re2  # type: ignore[import-untyped]  # it has no stubs

BOT = "bot"
_TV = (
    r"(?i)smart[-_]?tv|(?:google|apple|android|opera|philips) ?tv|hbbtv|netcast|web0s|webos\.tv|\bbravia|\bviera|"
    r"\broku|\bcrkey|\bchromecast|\baft[a-z]{1,4}\b|\btizen .*\btv\b|\bmibox"
)
# The first that fits. What calls itself Android and not mobile is a tablet, as browsers for Android have it; iPads
# that ask for pages of desktops call themselves Macintosh, and nothing tells them apart.
_DEVICES = (
    ("tv", _TV),
    ("console", r"PlayStation|Xbox|Nintendo"),
    ("tablet", r"\biPad|\bTablet(?:[;:)/]|$)|PlayBook|\bKindle\b|\bKF[A-Z]{2,5}\b|\bSM-[TX][0-9]{3}|hp-tablet"),
    ("mobile", r"Mobi|\biPhone|\biPod|Windows Phone|BlackBerry|\bBB10\b|Opera Mini|Symbian|\bNokia|KAIOS|MIDP|UCWEB"),
    ("tablet", r"\bAndroid"),
    ("desktop", r"\bWindows|\bMacintosh|\bMac OS X|\bX11;|\bCrOS\b|\bLinux (?:x86_64|i[3-6]86|aarch64)"),
)


class Agent(NamedTuple):
    """What a user agent says; a version is the major one."""

    browser: str | None
    browser_version: str | None
    os: str | None
    device_type: str | None


UNKNOWN = Agent(None, None, None, None)


class Agents:
    """Patterns, compiled."""

    def __init__(self) -> None:
        """Takes a third of a second."""
        from ua_parser.core import Domain
        from ua_parser.loaders import load_lazy_builtins
        from ua_parser.regex import Resolver

        browsers, systems, _ = load_lazy_builtins()
        self._resolve = Resolver((browsers, systems, []))
        self._domains = Domain.USER_AGENT | Domain.OS
        self._devices = [(name, re2.compile(pattern)) for name, pattern in _DEVICES]

    def describe(self, agent: str, *, is_bot: bool) -> Agent:
        """What it says. `is_bot` decides the device: a crawler says that it is a telephone."""
        found = self._resolve(agent, self._domains)
        browser, system = found.user_agent, found.os
        return Agent(
            browser=browser.family if browser else None,
            browser_version=browser.major if browser else None,
            os=system.family if system else None,
            device_type=BOT if is_bot else self._device(agent),
        )

    def _device(self, agent: str) -> str | None:
        return next((name for name, pattern in self._devices if pattern.search(agent)), None)


agents = lru_cache(Agents)  # whatever is configured beside them

"""Agents: what browsers say of themselves in; browser, its major version, operating system and kind of device out."""

from __future__ import annotations

import pytest

from evothesis.config import Enrichment
from tests.agents import BROWSER
from tests.collector.copy_text import stored

CLICK = {"eventType": "click", "siteId": "shop.example"}
COLUMNS = ("browser", "browser_version", "os", "device_type")
KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
APPLE_KIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {KIT} Chrome/143.0.0.0 Safari/537.36"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE_KIT}"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {APPLE_KIT}"
ANDROID = f"Mozilla/5.0 (Linux; Android 10; K) {KIT}"
AGENTS = {
    BROWSER: ("Chrome", "148", "Linux", "desktop"),
    WINDOWS: ("Chrome", "143", "Windows", "desktop"),
    f"{WINDOWS} Edg/143.0.0.0": ("Edge", "143", "Windows", "desktop"),
    f"{WINDOWS} OPR/124.0.0.0": ("Opera", "124", "Windows", "desktop"),
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0": (
        *("Firefox", "145", "Windows", "desktop"),
    ),
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko": ("IE", "11", "Windows", "desktop"),
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)": (
        *("IE", "8", "Windows", "desktop"),
    ),
    f"{MAC} Version/18.6 Safari/605.1.15": ("Safari", "18", "Mac OS X", "desktop"),
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {KIT} Chrome/143.0.0.0 Safari/537.36": (
        *("Chrome", "143", "Mac OS X", "desktop"),
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0": ("Firefox", "145", "Linux", "desktop"),
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0": (
        *("Firefox", "128", "Ubuntu", "desktop"),
    ),
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {KIT} Chrome/143.0.0.0 Safari/537.36": (
        *("Chrome", "143", "Chrome OS", "desktop"),
    ),
    f"{IPHONE} Version/18.6 Mobile/15E148 Safari/604.1": ("Mobile Safari", "18", "iOS", "mobile"),
    f"{IPHONE} Mobile/15E148": ("Mobile Safari UI/WKWebView", None, "iOS", "mobile"),
    f"{IPHONE} CriOS/143.0.7499.38 Mobile/15E148 Safari/604.1": ("Chrome Mobile iOS", "143", "iOS", "mobile"),
    f"{IPHONE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15": ("Firefox iOS", "145", "iOS", "mobile"),
    f"{IPHONE} Mobile/15E148 Instagram 300.0.0.0 (iPhone14,5; iOS 18_6)": ("Instagram", "300", "iOS", "mobile"),
    f"{IPHONE} Mobile/15E148 [FBAN/FBIOS;FBAV/450.0.0.38.108;FBDV/iPhone14,5]": ("Facebook", "450", "iOS", "mobile"),
    f"{ANDROID} Chrome/143.0.0.0 Mobile Safari/537.36": ("Chrome Mobile", "143", "Android", "mobile"),
    f"Mozilla/5.0 (Linux; Android 14; SM-S921B) {KIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": (
        *("Samsung Internet", "28", "Android", "mobile"),
    ),
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) {KIT} Version/4.0 Chrome/143.0.0.0 Mobile Safari/537.36": (
        *("Chrome Mobile WebView", "143", "Android", "mobile"),
    ),
    "Mozilla/5.0 (Android 14; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0": (
        *("Firefox Mobile", "145", "Android", "mobile"),
    ),
    "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80 (S60; SymbOS; Opera Mobi/23.348; U; en) Presto/2.5.25 Version/10.54": (
        *("Opera Mini", "9", "Symbian OS", "mobile"),
    ),
    f"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) {APPLE_KIT} Version/18.6 Mobile/15E148 Safari/604.1": (
        *("Mobile Safari", "18", "iOS", "tablet"),
    ),
    f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {KIT} Chrome/143.0.0.0 Safari/537.36": (
        *("Chrome", "143", "Android", "tablet"),
    ),
    "Mozilla/5.0 (Android 14; Tablet; rv:145.0) Gecko/145.0 Firefox/145.0": (
        *("Firefox Mobile", "145", "Android", "tablet"),
    ),
    f"Mozilla/5.0 (Linux; Android 9; KFMAWI) {KIT} Silk/120.4.1 like Chrome/120.0.6099.230 Safari/537.36": (
        *("Amazon Silk", "120", "Android", "tablet"),
    ),
    f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) {KIT} Version/7.0 TV Safari/537.36": (*("Safari", "7", "Tizen", "tv"),),
    f"Mozilla/5.0 (Web0S; Linux/SmartTV) {KIT} Chrome/87.0.4280.88 Safari/537.36 WebAppManager": (
        *("Chrome", "87", "Web0S", "tv"),
    ),
    f"Mozilla/5.0 (Linux; Android 9; AFTMM) {KIT} Chrome/120.0.0.0 Mobile Safari/537.36": (
        *("Chrome Mobile", "120", "Android", "tv"),
    ),
    f"Mozilla/5.0 (Linux; Android 12; BRAVIA 4K VH2) {KIT} Chrome/120.0.0.0 Safari/537.36": (
        *("Chrome", "120", "Android", "tv"),
    ),
    f"Mozilla/5.0 (PlayStation; PlayStation 5/8.20) {APPLE_KIT} Version/16.4 Safari/605.1.15": (
        *("Safari", "16", None, "console"),
    ),
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) {KIT} Chrome/120.0.0.0 Safari/537.36 Edge/44.18363": (
        *("Edge", "44", "Windows", "console"),
    ),
}


@pytest.mark.parametrize(("agent", "expected"), AGENTS.items(), ids=[" ".join(map(str, v)) for v in AGENTS.values()])
def test_browsers(agent: str, expected: tuple[str | None, ...]) -> None:
    """Browsers of people are named as uap-core names them."""
    (row,) = stored(CLICK, user_agent=agent)

    assert expected == tuple(row[name] for name in COLUMNS)


@pytest.mark.parametrize("agent", [None, "Agent/1.0", "x" * 2_000, "\x01\N{SNOWMAN}\x7f", "(" * 1_000])
def test_unknown(agent: str | None) -> None:
    """What names no browser has no columns."""
    (row,) = stored(CLICK, user_agent=agent, enrichment=Enrichment(bots=False))

    assert (None,) * 4 == tuple(row[name] for name in COLUMNS)


def test_long() -> None:
    """A browser is found also in a user agent that is too long to be remembered."""
    (row,) = stored(CLICK, user_agent=f"{BROWSER} {'x' * 800}")

    assert ("Chrome", "148", "Linux", "desktop") == tuple(row[name] for name in COLUMNS)


def test_switched_off() -> None:
    """Where it is switched off no agent is looked into; a bot is still one."""
    (row,) = stored(CLICK, user_agent="curl/8", enrichment=Enrichment(user_agent=False))

    assert (True, None, None, None, None) == (row["is_bot"], *(row[name] for name in COLUMNS))

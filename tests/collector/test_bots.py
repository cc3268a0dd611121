"""Bots: user agents of programs in; a flag and the reason for it out. The list's own examples are the corpus."""

from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA  # type: ignore[import-untyped]  # it has no stubs

from evothesis.config import Enrichment
from evothesis.event import Json
from tests.agents import BROWSER, CRAWLER, HEADLESS
from tests.collector.copy_text import stored
from tests.collector.test_agents import AGENTS

CLICK = {"eventType": "click", "siteId": "shop.example"}
PROGRAMS = {
    HEADLESS: "HeadlessChrome",
    CRAWLER: r"Googlebot\/",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 8_3 like Mac OS X) AppleWebKit/600.1.4 (KHTML, like Gecko) Version/8.0 "
    "Mobile/12F70 Safari/600.1.4 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": r"Googlebot\/",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) "
    "Chrome/100.0.4896.127 Safari/537.36": "bingbot",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)": "GPTBot",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)": (
        "[cC]laude[bB]ot"
    ),
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)": "Ahrefs(Bot|SiteAudit)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)": "facebookexternalhit",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)": "Slackbot",
    "WhatsApp/2.23.20.0 A": "WhatsApp",
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1": "PhantomJS",
    "curl/8.5.0": "^curl",
    "Wget/1.21": "[wW]get",
    "python-requests/2.32.3": "python-requests",
    "Python/3.11 aiohttp/3.14.5": "aiohttp",
    "Go-http-client/2.0": "Go-http-client",
    "okhttp/4.12.0": "okhttp",
    "axios/1.7.2": "axios",
    "Scrapy/2.11 (+https://scrapy.org)": "Scrapy",
}


def flags(agent: str | None, **fields: Json) -> tuple[bool, str | None]:
    """Whether the sender of a click is taken for a bot, and why."""
    (row,) = stored(CLICK, user_agent=agent, **fields)
    return row["is_bot"], row["bot_reason"]


@pytest.mark.parametrize(("agent", "reason"), PROGRAMS.items())
def test_programs(agent: str, reason: str) -> None:
    """A program is a bot; the pattern that names it is the reason."""
    assert (True, reason) == flags(agent)


@pytest.mark.parametrize("agent", AGENTS)
def test_people(agent: str) -> None:
    """A browser of a person is none."""
    assert (False, None) == flags(agent)


def test_list() -> None:
    """Every user agent that the list has as an example, some thousands, is found, for one of its reasons."""
    patterns = {entry["pattern"] for entry in CRAWLER_USER_AGENTS_DATA}
    examples = {agent for entry in CRAWLER_USER_AGENTS_DATA for agent in entry["instances"]}

    found = {agent: flags(agent) for agent in examples}

    assert len(examples) > 2_000
    assert [] == [agent for agent, (is_bot, reason) in found.items() if not (is_bot and reason in patterns)]


@pytest.mark.parametrize("agent", [None, ""])
def test_no_agent(agent: str | None) -> None:
    """A request without a user agent is none of a browser."""
    assert (True, "no user agent") == flags(agent)


def test_switched_off() -> None:
    """Where bots are not looked for nobody is one."""
    (row,) = stored(CLICK, user_agent=CRAWLER, enrichment=Enrichment(bots=False))

    assert (False, None) == (row["is_bot"], row["bot_reason"])


def test_device() -> None:
    """A crawler that says it is a telephone is counted with the bots."""
    devices = [stored(CLICK, user_agent=agent)[0]["device_type"] for agent in (*PROGRAMS, BROWSER)]

    assert [*["bot"] * len(PROGRAMS), "desktop"] == devices

"""Enrichment: it changes nothing but its own columns, has none for who refuses, and bears whatever is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evothesis.collector.enrichment.enricher import CACHED_MAX, enricher
from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.config import Enrichment, Privacy
from evothesis.event import COLUMNS, Json
from tests.agents import BROWSER, CRAWLER
from tests.collector.copy_text import SALT, Row, request, stored

OWN = COLUMNS[COLUMNS.index("is_bot") :]
OF_REQUEST = OWN[: OWN.index("referrer_type")]
OFF = Enrichment(bots=False, user_agent=False, referrer=False, attribution=False, country=False)
VIEW: dict[str, Json] = {
    "eventType": "pageview",
    "siteId": "shop.example",
    "sessionId": "s1",
    "url": "https://shop.example/a?utm_source=letter&fbclid=x",
    "data": {"referrer": "https://www.google.com/"},
}
SENDER: dict[str, Any] = {"user_agent": BROWSER, "peer": "194.25.0.68"}
EVERYTHING = {
    "is_bot": False,
    "bot_reason": None,
    "browser": "Chrome",
    "browser_version": "148",
    "os": "Linux",
    "device_type": "desktop",
    "country": "DE",
    "referrer_type": "search",
    "referrer_source": "Google",
    "utm_source": "letter",
    **dict.fromkeys(("utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id")),
    "click_id_type": "fbclid",
}
TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
ADDRESS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "https://", "http://www.google.com", "android-app://", "https://[", "//", "?utm_term=", "%"]),
    TEXT,
    st.sampled_from(["", "?utm_source=", "&gclid=%ff", "#utm_id=%00", "." * 300, "/"]) | TEXT,
)


def own(row: Row) -> Row:
    """The columns of enrichment."""
    return {name: row[name] for name in OWN}


def test_everything() -> None:
    """A visit has all of them."""
    (row,) = stored(VIEW, **SENDER)

    assert EVERYTHING == own(row)


def test_nothing_else_changes() -> None:
    """Switched off, it leaves NULL in its columns, and all others as they are."""
    (row,) = stored(VIEW, **SENDER)
    (plain,) = stored(VIEW, enrichment=OFF, **SENDER)

    assert dict.fromkeys(OWN) | {"is_bot": False} == own(plain)
    assert {name: row[name] for name in COLUMNS if name not in OWN} == {
        name: plain[name] for name in COLUMNS if name not in OWN
    }


def test_batch() -> None:
    """What a request says is in each of its events, what an event says in that one."""
    view, click = VIEW | {"n": 1}, {"eventType": "click", "siteId": "shop.example"}
    first, second, third = stored({"eventType": "batch", "events": [view, click, view | {"url": None}]}, **SENDER)

    assert EVERYTHING == own(first)
    of_event = dict.fromkeys(OWN[len(OF_REQUEST) :])
    assert {name: EVERYTHING[name] for name in OF_REQUEST} | of_event == own(second)
    assert EVERYTHING | of_event | {"referrer_type": "search", "referrer_source": "Google"} == own(third)


@pytest.mark.parametrize(("agent", "is_bot"), [(BROWSER, False), (CRAWLER, True), (None, True)])
def test_anonymous(agent: str | None, is_bot: bool) -> None:  # noqa: FBT001 - a column of the table
    """Of who refuses it is known whether they are a bot, and nothing of browser, device and country."""
    (row,) = stored(VIEW, Privacy(signals="anonymise"), refuses=True, **SENDER | {"user_agent": agent})

    hidden = ("browser", "browser_version", "os", "device_type", "country", "user_agent", "ip_address")
    assert dict.fromkeys(hidden) == {name: row[name] for name in hidden}
    assert (is_bot, "search", "letter") == tuple(row[name] for name in ("is_bot", "referrer_type", "utm_source"))


def test_bot_is_marked() -> None:
    """The row says beside its line whether a bot sent it, for those who count."""
    for agent, is_bot in ((BROWSER, False), (CRAWLER, True)):
        entry = take(request(VIEW, user_agent=agent), Policy(), salt=SALT).entry
        assert [is_bot] == [row.is_bot for row in entry.rows]


def test_nothing_personal() -> None:
    """What is cut out of an event and an agent is in no column that is made of them."""
    event = VIEW | {
        "url": "https://shop.example/?utm_source=jane@example.com&utm_id=4111111111111111",
        "data": {"referrer": "https://jane:secret@mail.example.org/?a=jane@example.com"},
    }
    (row,) = stored(event, user_agent="Mozilla/5.0 (jane@example.com) Firefox/145.0", peer="194.25.0.68")

    assert ("referral", "example.org", "[redacted]") == (row["referrer_type"], row["referrer_source"], row["utm_id"])
    text = json.dumps({name: row[name] for name in OWN})
    assert [] == [word for word in ("jane", "secret", "4111", "194.25") if word in text]


@settings(database=None, print_blob=True, deadline=None, max_examples=300)
@given(agent=st.none() | TEXT, url=st.none() | ADDRESS, referrer=st.none() | ADDRESS, peer=st.none() | TEXT)
def test_anything(agent: str | None, url: str | None, referrer: str | None, peer: str | None) -> None:
    """Whatever is sent, the event is kept, and its columns hold texts of some length without NUL."""
    sent: dict[str, Any] = {"eventType": "a", "siteId": "s", "url": url, "data": {"referrer": referrer}}
    agent = agent.replace("\0", "\ufffd") if agent else agent
    (row,) = stored(sent, user_agent=agent, peer=peer)

    texts = [value for value in own(row).values() if isinstance(value, str)]
    assert [] == [text for text in texts if "\0" in text or not 0 < len(text) <= 253]


def test_bounded() -> None:
    """However many different visitors come, so many answers are remembered, and no long question."""
    knows = enricher(Enrichment(), Privacy())
    for number in range(2 * CACHED_MAX):
        knows.sender(f"Agent/{number}", "Agent", f"8.8.{number >> 8}.{number & 255}")
    before = knows._remembered_agent.cache_info()
    knows.sender("x" * 1_000, None, None)

    assert (CACHED_MAX, CACHED_MAX) == (before.currsize, knows._remembered_country.cache_info().currsize)
    assert before.misses == knows._remembered_agent.cache_info().misses

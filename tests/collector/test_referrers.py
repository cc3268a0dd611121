"""Referrers: what came before a page in; the kind of place and its name out."""

from __future__ import annotations

from typing import Any

import pytest

from evothesis.collector.enrichment.referrers import known
from evothesis.config import Enrichment
from evothesis.event import Json
from tests.collector.copy_text import stored

PAGE = "https://www.shop.example.co.uk/a?b=c"
TYPES = {"search", "social", "email", "ai", "shopping"}


def columns(event: dict[str, Any], **settings: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - of Enrichment
    """Type and source of an event's referrer."""
    (row,) = stored({"eventType": "pageview", "siteId": "s"} | event, enrichment=Enrichment(**settings))
    return row["referrer_type"], row["referrer_source"]


def classified(referrer: Json, page: str = PAGE) -> tuple[str | None, str | None]:
    """Type and source of what tracking.js found before a page."""
    return columns({"url": page, "data": {"referrer": referrer}})


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://www.google.com/", ("search", "Google")),
        ("https://www.google.co.uk/search?q=a", ("search", "Google")),
        ("https://google.de", ("search", "Google")),
        ("https://images.google.com.br/imgres", ("search", "Google")),
        ("HTTPS://WWW.GOOGLE.COM:443/", ("search", "Google")),
        ("https://www.google.com./", ("search", "Google")),
        ("android-app://com.google.android.googlequicksearchbox/", ("search", "Google")),
        ("https://www.bing.com/", ("search", "Bing")),
        ("https://cn.bing.com/search?q=a", ("search", "Bing")),
        ("https://duckduckgo.com/", ("search", "DuckDuckGo")),
        ("https://search.yahoo.co.jp/search", ("search", "Yahoo")),
        ("https://r.search.yahoo.com/", ("search", "Yahoo")),
        ("https://yandex.ru/", ("search", "Yandex")),
        ("https://yandex.com.tr/search", ("search", "Yandex")),
        ("https://ya.ru/", ("search", "Yandex")),
        ("https://www.baidu.com/link?url=x", ("search", "Baidu")),
        ("https://search.naver.com/", ("search", "Naver")),
        ("https://search.seznam.cz/?q=a", ("search", "Seznam")),
        ("https://www.ecosia.org/", ("search", "Ecosia")),
        ("https://search.brave.com/", ("search", "Brave")),
        ("https://go.mail.ru/search", ("search", "Mail.ru")),
        ("https://suche.t-online.de/", ("search", "T-Online")),
        ("https://l.facebook.com/l.php?u=x", ("social", "Facebook")),
        ("https://m.facebook.com/", ("social", "Facebook")),
        ("https://t.co/abc", ("social", "X")),
        ("https://x.com/", ("social", "X")),
        ("https://lnkd.in/abc", ("social", "LinkedIn")),
        ("android-app://com.linkedin.android/", ("social", "LinkedIn")),
        ("https://out.reddit.com/", ("social", "Reddit")),
        ("https://www.pinterest.co.uk/pin/1", ("social", "Pinterest")),
        ("https://www.youtube.com/", ("social", "YouTube")),
        ("https://news.ycombinator.com/item?id=1", ("social", "Hacker News")),
        ("https://vk.com/away.php", ("social", "VK")),
        ("https://blog.naver.com/a", ("social", "Naver")),
        ("https://mail.google.com/mail/u/0/", ("email", "Gmail")),
        ("android-app://com.google.android.gm/", ("email", "Gmail")),
        ("https://outlook.live.com/", ("email", "Outlook")),
        ("https://mail.yahoo.com/", ("email", "Yahoo Mail")),
        ("https://mail.yahoo.co.jp/", ("email", "Yahoo Mail")),
        ("https://deref-gmx.net/", ("referral", "deref-gmx.net")),
        ("https://navigator-bs.gmx.de/", ("email", "GMX")),
        ("https://e.mail.ru/inbox", ("email", "Mail.ru Mail")),
        ("https://mail.yandex.ru/", ("email", "Yandex Mail")),
        ("https://email.seznam.cz/", ("email", "Seznam Email")),
        ("https://us1.campaign-archive.com/", ("email", "Mailchimp")),
        ("https://chatgpt.com/", ("ai", "ChatGPT")),
        ("https://chat.openai.com/", ("ai", "ChatGPT")),
        ("https://www.perplexity.ai/search/x", ("ai", "Perplexity")),
        ("https://gemini.google.com/app", ("ai", "Gemini")),
        ("https://copilot.microsoft.com/", ("ai", "Copilot")),
        ("https://edgeservices.bing.com/", ("ai", "Copilot")),
        ("https://claude.ai/chat/x", ("ai", "Claude")),
        ("https://chat.deepseek.com/", ("ai", "DeepSeek")),
        ("https://grok.com/", ("ai", "Grok")),
        ("https://chat.mistral.ai/", ("ai", "Le Chat")),
        ("https://yiyan.baidu.com/", ("ai", "ERNIE Bot")),
        ("https://www.amazon.de/dp/x", ("shopping", "Amazon")),
        ("https://www.amazon.com.au/", ("shopping", "Amazon")),
        ("https://www.ebay.co.uk/", ("shopping", "eBay")),
        ("https://shopping.google.de/", ("shopping", "Google Shopping")),
        ("https://shopping.yahoo.co.jp/", ("shopping", "Yahoo Shopping")),
        ("https://www.idealo.at/", ("shopping", "idealo")),
        ("https://www.blog.example.org/a", ("referral", "example.org")),
        ("https://blog.example.co.uk/", ("internal", "example.co.uk")),
        ("https://other.co.uk/", ("referral", "other.co.uk")),
        ("https://someone.github.io/", ("referral", "someone.github.io")),
        ("https://google.github.io/", ("referral", "google.github.io")),
        ("https://google.evil.example/", ("referral", "evil.example")),
        ("https://www.google.com.evil.example/", ("referral", "evil.example")),
        ("https://notgoogle.com/", ("referral", "notgoogle.com")),
        ("https://b\u00fccher.example/", ("referral", "b\u00fccher.example")),
        ("https://xn--bcher-kva.example/", ("referral", "xn--bcher-kva.example")),
        ("https://192.0.2.7/a", ("referral", "192.0.2.7")),
        ("https://[2001:db8::1]/", ("referral", "2001:db8::1")),
        ("http://localhost:8080/", ("referral", "localhost")),
        ("https://co.uk/", ("referral", "co.uk")),
        ("android-app://com.example.reader", ("referral", "com.example.reader")),
    ],
)
def test_place(referrer: str, expected: tuple[str, str]) -> None:
    """A place is known by its registered name, in all countries and with everything below it, else by that name."""
    assert expected == classified(referrer)


@pytest.mark.parametrize(
    ("referrer", "page"),
    [
        (PAGE, PAGE),
        ("https://example.co.uk/", PAGE),
        ("http://shop.example.co.uk:8080/", PAGE),
        ("https://www.google.com/", "https://mail.google.com/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8081/"),
        ("https://a.github.io/b", "https://a.github.io/c"),
    ],
)
def test_internal(referrer: str, page: str) -> None:
    """A page of the same host, or of one with the same registered name, is of the site, whatever else it is."""
    assert "internal" == classified(referrer, page)[0]


def test_not_internal() -> None:
    """Neighbours under a public suffix are strangers."""
    assert ("referral", "b.github.io") == classified("https://b.github.io/", "https://a.github.io/")
    assert ("referral", "192.0.2.8") == classified("https://192.0.2.8/", "https://192.0.2.7/")


@pytest.mark.parametrize("referrer", ["", " ", None])
def test_direct(referrer: str | None) -> None:
    """Who says that there was nothing before came directly."""
    assert ("direct", None) == classified(referrer)


@pytest.mark.parametrize(
    "referrer",
    [
        *(7, True, [], {"a": 1}),
        *("a", "/a", "www.google.com/", "//www.google.com/", "https://", "https:///a", "https://./", "https://a b/"),
        *("about:client", "file:///etc/hosts", "javascript:1", "data:,x", "https://[::1", "https://[redacted]/"),
        *("https://" + "a" * 300 + ".example/", "https://a\N{FULLWIDTH SOLIDUS}b.example/", "\N{SNOWMAN}" * 9_000),
    ],
    ids=lambda value: str(value)[:30],
)
def test_nothing(referrer: Json) -> None:
    """What is no page and no app is nothing."""
    assert (None, None) == classified(referrer)


def test_long() -> None:
    """A long address is known by its beginning."""
    assert ("search", "Google") == classified(f"https://www.google.com/search?q={'x' * 9_000}")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({}, (None, None)),
        ({"data": {}}, (None, None)),
        ({"data": "referrer"}, (None, None)),
        ({"data": {"properties": {"referrer": "https://t.co/"}}}, (None, None)),
        ({"referrer": "https://t.co/"}, ("social", "X")),
        ({"referrer": None}, ("direct", None)),
        ({"referrer": "https://t.co/", "data": ["referrer"]}, ("social", "X")),
        ({"referrer": "https://t.co/", "data": {"referrer": "https://bing.com/"}}, ("search", "Bing")),
        ({"siteId": "www.bing.com", "data": {"referrer": "https://bing.com/"}}, ("internal", "bing.com")),
    ],
)
def test_where(event: dict[str, Any], expected: tuple[str | None, str | None]) -> None:
    """The referrer stands in `data`, else in the event; without an address the site's name is that of the page."""
    assert expected == columns(event)


def test_batch() -> None:
    """What a batch says of the page before, it says for each of its events."""
    batch = {"eventType": "batch", "siteId": "s", "referrer": "https://t.co/", "events": [{"eventType": "a"}] * 2}

    assert ["X", "X"] == [row["referrer_source"] for row in stored(batch)]


def test_switched_off() -> None:
    """Where it is switched off no referrer is looked into."""
    assert (None, None) == columns({"data": {"referrer": "https://t.co/"}}, referrer=False)


def test_list() -> None:
    """The list names kinds that are in the docs, and each place once, in lower case, as it is found."""
    assert TYPES == {place.type for place in known().values()}
    wild = [place for place in known() if "*" in place and not place.endswith(".*")]
    assert [] == [*wild, *(place for place in known() if place != place.lower() and not place.startswith("com."))]

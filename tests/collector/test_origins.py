"""Origins: which pages may send and read, through a real socket, at both doors."""

from __future__ import annotations

import json

import msgspec
import pytest

from evothesis.collector.allowed import Origins
from evothesis.config import Server
from tests.appliance import Appliance
from tests.collector.client import JSON_TYPE, Answer, ask

DOORS = {"plain": "/collect", "aiohttp": "/collect?x"}
TAKEN = [
    "https://shop.example",
    "https://a.wide.example",
    "https://a-1.b_2.wide.example",
    "http://127.0.0.1:8080",
    "http://[::1]:8080",
]
FOREIGN = [
    "null",
    "*",
    "shop.example",
    "//shop.example",
    "https://",
    "https://shop.example.",
    "https://shop.example/",
    "https://shop.example:443",
    "https://shop.example:8443",
    "https://Shop.example",
    "HTTPS://SHOP.EXAMPLE",
    "http://shop.example",
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://evil-shop.example",
    "https://a.shop.example",
    "https://shopxexample",
    "https://shop.example@evil.example",
    "https://user@shop.example",
    "https://evil.example#https://shop.example",
    "https://evil.example/https://shop.example",
    "https://shop.example https://evil.example",
    "https://shop.example, https://evil.example",
    "https://shop.example\\.evil.example",
    "https://evil.example,https://shop.example",
    "https://shop.ex\u00e4mple",
    "https://\u0455hop.example",
    "https://wide.example",
    "https://.wide.example:443",
    "https://a.wide.example.evil.example",
    "https://awide.example",
    "https://a.wide.example.",
    "https://a.wide.example:8080",
    "http://a.wide.example",
    "https://evil.example/.wide.example",
    "https://evil.example?.wide.example",
    "https://evil.example#.wide.example",
    "https://evil.example:80@a.wide.example",
    "https://user@a.wide.example",
    "https://A.wide.example",
    "https://*.wide.example",
    "http://127.0.0.1",
    "http://127.0.0.1:80800",
    "http://127.0.0.1.:8080",
    "http://127x0x0x1:8080",
    "http://[::1]",
    "https://localhost",
    "file://",
    "chrome-extension://shop.example",
]
CORS = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Vary", "Access-Control-Allow-Credentials")


def send(appliance: Appliance, door: str, *origins: str, body: bytes | None = None) -> Answer:
    """An event of a page of these origins."""
    event = json.dumps({"eventType": "click", "siteId": "An App"}).encode() if body is None else body
    headers: list[tuple[str, str | bytes]] = [*JSON_TYPE.items(), *(("Origin", origin.encode()) for origin in origins)]
    return ask(appliance.url, "POST", DOORS[door], body=event, headers=headers)


def said(answer: Answer) -> tuple[str | None, ...]:
    """What an answer tells a browser."""
    return tuple(answer.headers[name] for name in CORS)


@pytest.mark.parametrize("door", DOORS)
def test_taken(listed: Appliance, door: str) -> None:
    """A page on the list may send, and read its receipt; the answer names it and nobody else."""
    answers = {origin: send(listed, door, origin) for origin in TAKEN}

    assert dict.fromkeys(TAKEN, 200) == {origin: answer.status for origin, answer in answers.items()}
    assert {origin: (origin, "Retry-After", "Origin", None) for origin in TAKEN} == {
        origin: said(answer) for origin, answer in answers.items()
    }


@pytest.mark.parametrize("door", DOORS)
def test_foreign(listed: Appliance, door: str) -> None:
    """A page that is not on the list is refused, whatever it looks like, and may not even read that."""
    answers = {origin: send(listed, door, origin) for origin in FOREIGN}

    assert dict.fromkeys(FOREIGN, (403, "origin_not_allowed")) == {
        origin: answer.error for origin, answer in answers.items()
    }
    assert {(None, None, "Origin", None)} == {said(answer) for answer in answers.values()}


@pytest.mark.parametrize("door", DOORS)
def test_no_origin(listed: Appliance, door: str) -> None:
    """Who is no page names no origin, and may send; a page that finds this answer in a cache may not read it."""
    answers = [send(listed, door), send(listed, door, "")]

    assert [(200, (None, None, "Origin", None))] * 2 == [(answer.status, said(answer)) for answer in answers]


@pytest.mark.parametrize("door", DOORS)
def test_readable_refusal(listed: Appliance, door: str) -> None:
    """A page on the list may read why its request was refused."""
    answer = send(listed, door, "https://shop.example", body=b"{")

    assert (400, "json_invalid") == answer.error
    assert ("https://shop.example", "Retry-After", "Origin", None) == said(answer)


@pytest.mark.parametrize("door", DOORS)
def test_one_after_another(listed: Appliance, door: str) -> None:
    """What one page was told is not told to the next one."""
    origins = ["https://shop.example", "https://evil.example", "https://a.wide.example"] * 10

    assert [None if "evil" in origin else origin for origin in origins] == [
        said(send(listed, door, origin))[0] for origin in origins
    ]


def test_preflight(listed: Appliance) -> None:
    """Before it sends JSON or gzip a browser asks: a page on the list is told what it may do, another one nothing."""

    def asked(origin: str) -> Answer:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        return ask(listed.url, "OPTIONS", "/collect", headers=headers)

    taken, foreign = asked("https://shop.example"), [asked(origin) for origin in FOREIGN if origin.isascii()]

    assert (204, "https://shop.example", "POST") == (
        taken.status,
        taken.headers["Access-Control-Allow-Origin"],
        taken.headers["Access-Control-Allow-Methods"],
    )
    assert [] == [name for answer in [taken, *foreign] for name in answer.headers if name.endswith("Credentials")]
    assert [] == [name for answer in foreign for name in answer.headers if name.lower().startswith("access-control")]
    assert {(403, "origin_not_allowed")} == {answer.error for answer in foreign}


def test_two_origins(listed: Appliance) -> None:
    """No browser names two origins; of one who does the first counts, at both doors."""
    origins = ["https://evil.example", "https://shop.example"]

    assert [403, 403] == [send(listed, door, *origins).status for door in DOORS]


def test_pixel_has_no_origin(listed: Appliance) -> None:
    """An image is asked for without an origin; that some pages name one changes nothing."""
    answer = ask(listed.url, "GET", "/pixel.gif?site=shop.example", headers={"Origin": "https://evil.example"})

    assert (200, "image/gif") == (answer.status, answer.headers["Content-Type"])
    assert None is answer.headers["Access-Control-Allow-Origin"]


@pytest.mark.parametrize(
    "name",
    [
        "null",
        "*",
        "shop.example",
        "https://",
        "https://*",
        "https://shop.example/",
        "https://shop.example:443",
        "http://*.shop.example:80",
        "https://Shop.example",
        "https://shop.*",
        "https://a.*.example",
        "https://*shop.example",
        "https://shop..example",
        "https://shop.example.",
        "https://user@shop.example",
        "https://shop.example:https",
        "https://sh\u00f6p.example",
        "file://",
        "",
    ],
)
def test_no_origin_at_all(name: str) -> None:
    """What no browser would ever say cannot be configured."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"origins": [name]}, Server)


@pytest.mark.parametrize("origin", [None, "null", "https://anybody.example", "*"])
def test_no_list(origin: str | None) -> None:
    """Without a list any page may send and read its receipt, and no answer depends on who asks."""
    origins = Origins(())
    origins.demand(origin)

    assert {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After",
        "Cross-Origin-Resource-Policy": "cross-origin",
    } == origins.headers(origin)

"""Requests: a seed in, HTTP requests as browsers send them out; rendered before a run, so that sending costs little.

The bodies are those of tracking.js: batches of page views, clicks, scrolls, visibility and custom events, with UUIDv7
ids whose times are those of the events, not of the request.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from typing import NamedTuple

EVENTS_PER_REQUEST = 10  # what tracking.js puts into one batch at most
SITES = 40
VISITORS = 5_000
EVENT_SECONDS_MAX = 3  # between two events of a visitor
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n"
    'sec-ch-ua-platform: "Windows"\r\nUser-Agent: {agent}\r\n'
    'sec-ch-ua: "Chromium";v="143", "Not A(Brand";v="24"\r\nContent-Type: {content_type}\r\n'
    "sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://{site}\r\nSec-Fetch-Site: cross-site\r\n"
    "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://{site}/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\r\n"
)
# how a batch of ten is mixed; a longer one repeats it
MIX = ("pageview", "scroll", "click", "visibility", "click", "scroll", "custom", "click", "pageview", "custom")
CAMPAIGN = "utm_source=newsletter&utm_medium=paid_social&utm_campaign=autumn-{n}&gclid={id}"
PRODUCTS = ("waxed-cotton-jacket", "enamel-coffee-pot", "oak-cutting-board", "merino-blanket", "brass-desk-lamp")


class Target(NamedTuple):
    """Where requests go."""

    host: str
    port: int
    path: str
    content_type: str


class Request(NamedTuple):
    """The bytes on the wire, and by which event the request is found again in the database."""

    data: bytes
    first_event_id: str


class Renderer:
    """A source of requests; no id of one renderer comes twice, nor in another one with another seed."""

    def __init__(self, target: Target, *, seed: int, now: float) -> None:
        """`now` is the Unix time at which the first request will be sent."""
        self._random = random.Random(seed)  # noqa: S311 - random for variety, seeded for repetition
        self._target = target
        self._now = now
        self._second = ("", -1)
        self._sites = [f"shop-{number}.example.com" for number in range(SITES)]
        self._visitors = [(self._uuid(now - 3_600), self._uuid(now - 600)) for _ in range(VISITORS)]

    def render(self, moments: Iterable[float], *, events: int = EVENTS_PER_REQUEST) -> list[Request]:
        """A request for each moment, in seconds from now, at which one is going to be sent."""
        return [self._request(self._now + moment, events) for moment in moments]

    def _request(self, sent_at: float, events: int) -> Request:
        site = self._random.choice(self._sites)
        visitor_id, session_id = self._random.choice(self._visitors)
        moment = sent_at - self._random.random() * EVENT_SECONDS_MAX * events
        url = f"https://{site}/{self._path()}?{self._campaign(sent_at)}"
        members, first_event_id = [], ""
        for number in range(events):
            event_id = self._uuid(moment)
            first_event_id = first_event_id or event_id
            kind = MIX[number % len(MIX)]
            if kind == "pageview" and number:
                url = f"https://{site}/{self._path()}"
            data = getattr(self, f"_{kind}")(url)
            path = url.partition(".com")[2].partition("?")[0]
            members.append(
                f'{{"eventType":"{kind}","eventId":"{event_id}","timestamp":"{self._iso(moment)}",'
                f'"url":"{url}","path":"{path}","data":{data}}}'
            )
            moment += (sent_at - moment) * self._random.random()
        body = (
            f'{{"eventType":"batch","batchId":"{self._uuid(sent_at)}","sentAt":"{self._iso(sent_at)}",'
            f'"sessionId":"{session_id}","visitorId":"{visitor_id}","siteId":"{site}","events":[{",".join(members)}]}}'
        ).encode()
        head = HEAD.format(
            path=self._target.path,
            content_type=self._target.content_type,
            host=f"{self._target.host}:{self._target.port}",
            length=len(body),
            agent=self._random.choice(AGENTS),
            site=site,
        )
        return Request(head.encode() + body, first_event_id)

    def _uuid(self, moment: float) -> str:
        """UUIDv7: RFC 9562, section 5.7."""
        bits = self._random.getrandbits(74)
        value = int(moment * 1000) << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & (1 << 62) - 1
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _iso(self, moment: float) -> str:
        second = int(moment)
        if second != self._second[1]:
            self._second = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)), second)
        return f"{self._second[0]}.{int(moment * 1000) % 1000:03d}Z"

    def _path(self) -> str:
        return f"collections/autumn/products/{self._random.choice(PRODUCTS)}-{self._random.randrange(900):03d}"

    def _campaign(self, moment: float) -> str:
        return CAMPAIGN.format(n=self._random.randrange(40), id=self._uuid(moment).replace("-", "")[-26:])

    def _pageview(self, url: str) -> str:
        width = self._random.choice((390, 1440, 1920))
        return json.dumps(
            {
                "title": "Waxed cotton jacket, olive · Nørthwind Outfitters",
                "referrer": "https://www.example.org/search?q=waxed+cotton+jacket",
                "screen": {"width": width, "height": 1080},
                "viewport": {"width": width, "height": self._random.randrange(500, 1000)},
                "language": "en-GB",
                "timeZone": "Europe/Berlin",
                "navigationType": "navigate" if "?" in url else "pushState",
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )

    def _click(self, url: str) -> str:
        x, y = self._random.randrange(1400), self._random.randrange(3000)
        return (
            '{"tag":"a","id":"","classes":["button","button--primary","product-card__action"],"text":"Add to basket",'
            f'"href":"{url.partition("?")[0]}/basket","selector":"#main > section:nth-of-type(2) > div > '
            f'article:nth-of-type({x % 9 + 1}) > a","page":{{"x":{x},"y":{y}}},"viewport":{{"x":{x},"y":{y % 800}}}}}'
        )

    def _scroll(self, _url: str) -> str:
        milestone = self._random.choice((25, 50, 75, 100))
        pixels = milestone * self._random.randrange(20, 60)
        return f'{{"milestonePercent":{milestone},"depthPercent":{milestone},"depthPixels":{pixels}}}'

    def _visibility(self, _url: str) -> str:
        return '{"state":"blur"}'

    def _custom(self, _url: str) -> str:
        cents = self._random.randrange(900, 90_000)
        return (
            f'{{"name":"add_to_basket","properties":{{"product_id":"SKU-{cents:06d}","name":"Waxed cotton jacket, '
            f'olive","category":"outerwear/jackets","variant":"olive / M","price":{cents / 100:.2f},"currency":"EUR",'
            f'"quantity":{cents % 3 + 1},"coupon":null,"list":"autumn-landing","position":{cents % 24}}}}}'
        )

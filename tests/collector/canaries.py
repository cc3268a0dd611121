"""Canaries: values that must be nowhere, the requests that carry them, and a search that no spelling escapes."""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
import random
import string
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import re2  # type: ignore[import-untyped]  # it has no stubs

from evothesis.event import Json
from tests.collector.test_connection import post

ALPHANUMERIC = string.ascii_letters + string.digits
CONTEXT_LENGTH = 60
JSON_TYPE = "Content-Type: application/json"
GZIP = "Content-Encoding: gzip"

# Where a text may stand in an event. A member that is not named `{}` has it as its value or within it
MEMBERS: tuple[dict[str, Json], ...] = (
    *(
        {name: "{}"}
        for name in ("eventType", "sessionId", "visitorId", "siteId", "url", "path", "eventId", "timestamp")
    ),
    *({name: "{}"} for name in ("title", "referrer", "userAgent", "orderId", "sku", "ip", "utm_term", "gclid", "n")),
    *({name: "Hello {}!"} for name in ("title", "sessionId", "path")),
    {"url": "https://a.example/p/{}/q"},
    {"url": "https://a.example/?q={}&a=1"},
    {"url": "https://a.example/?{}=1"},
    {"url": "https://a.example/#{}"},
    {"path": "/p/{}"},
    {"data": "{}"},
    {"data": {"deep": [[{"deeper": ["{}", 1]}]]}},
    {"data": {"{}": 1, "b": {"x {} y": [2]}}},
    {"data": {"html": '<a href="mailto:{}">{}</a>', "json": '{"q": "{}"}', "lines": "a\n{}\tb"}},
    {"{}": True},
)
# Events that are refused, each for a reason of its own
REFUSED: tuple[Json, ...] = (
    "{}",
    ["{}"],
    {"data": "{}"},
    {"eventType": 7, "data": "{}"},
    {"eventType": "x" * 51, "siteId": "{}"},
    {"eventType": "batch", "events": ["{}"]},
    {"eventType": "t", "eventId": "{}"},
    {"eventType": "t", "timestamp": "{}"},
    {"eventType": "t", "timestamp": 10**17, "{}": 1},
    {"eventType": "t", "sessionId": "{} " + "x" * 101},
    {"eventType": "t", "url": "https://a.example/?q={}&" + "x" * 8_200},
    {"eventType": "t", "path": ["{}"]},
    {"eventType": "t", "data": ["{}", "x" * 33_000]},
    {"eventType": "t", "data": json.loads("[" * 40 + '"{}"' + "]" * 40)},
    {"eventType": "t", "data": ["{}", "\0", "\ud800"]},
)
# Bodies of which nothing is kept
MALFORMED = (
    '{{"eventType":"t","data":"{}"',
    '{{"eventType":"t","data":"{}",}}',
    '{{"eventType":"batch","{}":1,"events":[]}}',
    '{{"eventType":"batch","sessionId":["{}"],"events":[{{"eventType":"t"}}]}}',
    '{{"eventType":"batch","events":"{}"}}',
    '"{}"',
    "{}",
    '{{"eventType":"t","data":["{}",NaN]}}',
)
HEADERS = (
    *(
        "User-Agent",
        "Referer",
        "Origin",
        "Cookie",
        "Authorization",
        "Forwarded",
        "From",
        "X-Real-IP",
        "Accept-Language",
    ),
    *(
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Content-Encoding",
        "X-Anything",
        "Sec-GPC",
        "DNT",
        "Traceparent",
        "If-None-Match",
    ),
)


class Canary(NamedTuple):
    """A value, as it is written in texts, and the letters and digits by which it is known wherever it is found."""

    name: str
    text: str
    needle: str
    packed: bytes = b""  # as PostgreSQL keeps it
    is_upper_the_same: bool = False

    def spellings(self) -> Iterator[str]:
        """The ways in which it is sent, beside those that only JSON has."""
        yield self.text
        if self.is_upper_the_same:
            yield self.text.upper()
        yield "".join(c if c.isalnum() else f"%{ord(c):02X}" for c in self.text)
        yield "".join(f"%{ord(c):02x}" for c in self.text)
        yield quote(quote(self.text, safe=""), safe="")

    @property
    def escaped(self) -> str:
        """In JSON's escapes."""
        return "".join(f"\\u{ord(character):04x}" for character in self.text)


def canaries(chance: random.Random) -> list[Canary]:
    """One of each kind, whose like was never seen."""

    def word(length: int) -> str:
        return "7" + "".join(chance.choices(ALPHANUMERIC, k=length - 1))  # a token has a digit

    def token(content: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    name, secret, key, signature = (word(length).lower() for length in (12, 24, 24, 32))
    digits = "4" + "".join(chance.choices(string.digits, k=14))
    digits += next(last for last in string.digits if _luhn(digits + last))
    ipv4 = ipaddress.IPv4Address(bytes((chance.randint(151, 171), *(chance.randint(100, 250) for _ in range(3)))))
    groups = ["2a02", *(f"{chance.randint(0x1000, 0xFFFF):x}" for _ in range(7))]
    ipv6 = ipaddress.IPv6Address(":".join(groups))
    payload = token({"sub": word(20)})
    return [
        Canary("e-mail", f"jane.{name}@mail.example.com", f"jane{name}", is_upper_the_same=True),
        Canary("card", digits, digits),
        Canary("card in groups", " ".join(digits[n : n + 4] for n in range(0, 16, 4)), digits),
        Canary("IPv4", str(ipv4), str(ipv4).replace(".", ""), b"\x02\x20" + ipv4.packed),
        Canary("IPv6", str(ipv6), "".join(groups[3:]), ipv6.packed, is_upper_the_same=True),
        Canary("JWT", f"{token({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.{signature}", payload),
        Canary("signature of a JWT", f"{token({'alg': 'HS256'})}.{payload}.{signature}", signature),
        Canary("bearer", f"Bearer {secret}", secret),
        Canary("key", f"sk_live_{key}", key),
        Canary("parameter", f"https://b.example/?api_key={secret}&a=1", secret, is_upper_the_same=True),
    ]


def _luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in number[-2::-2]]
    return (sum(doubled) + sum(map(int, number[-1::-2]))) % 10 == 0


class Search:
    """Finds canaries in bytes: in any case, percent-encoded, escaped, in UTF-16, and with other characters between."""

    def __init__(self, sought: Sequence[Canary]) -> None:
        """One pattern for each, and one for all, because there are many bytes."""
        patterns = {canary.name: _pattern(canary) for canary in sought}
        self._all = _compiled("|".join(f"(?:{pattern})" for pattern in patterns.values()))
        self._each = {name: _compiled(pattern) for name, pattern in patterns.items()}
        self._packed = {canary.name: canary.packed for canary in sought if canary.packed}

    def find(self, data: bytes) -> dict[str, bytes]:
        """What is found, each with what stands around it the first time."""
        # as it is: without its last octet, which is NUL, a truncated address ends with whatever stands behind it
        found = {name: at for name, packed in self._packed.items() if (at := data.find(packed)) >= 0}
        data += data.translate(None, b"\0")  # UTF-16 is ASCII with NUL between
        if self._all.search(data):
            matches = {name: pattern.search(data) for name, pattern in self._each.items()}
            found |= {name: match.start() for name, match in matches.items() if match}
        return {name: data[max(0, at - CONTEXT_LENGTH) : at + CONTEXT_LENGTH] for name, at in found.items()}


def _pattern(canary: Canary) -> str:
    between = r"(?:[^0-9A-Za-z%\\]|%(?:25)*[0-9A-Fa-f]{2}|\\+u00[0-9A-Fa-f]{2}|\\){0,3}"
    spelled = [rf"(?:{c}|%(?:25)*{ord(c):02x}|\\+u00{ord(c):02x})" for c in canary.needle]
    return between.join(spelled)


def _compiled(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    options = re2.Options()
    options.max_mem = 2**28
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(f"(?is){pattern}".encode("latin-1"), options)


def filled(value: Json, text: str) -> Json:
    """A value whose texts and names have a text in the place of `{}`."""
    if isinstance(value, str):
        return value.replace("{}", text)
    if isinstance(value, list):
        return [filled(part, text) for part in value]
    if isinstance(value, dict):
        return {filled(name, text): filled(part, text) for name, part in value.items()}
    return value


def requests(canary: Canary, marker: str) -> Iterator[bytes]:
    """Requests that have it wherever a request can have something."""
    yield from _with_bodies(canary, marker)
    for text in canary.spellings():
        yield from _with_headers(text, marker, is_host=bool(canary.packed))
        yield from _with_targets(text, marker)


def _with_bodies(canary: Canary, marker: str) -> Iterator[bytes]:
    client = [JSON_TYPE, *([f"X-Forwarded-For: {canary.text}"] if canary.packed else [])]
    site: dict[str, Json] = {"siteId": "canaries.example"}
    # the last one is put where JSON has its escapes
    for text in (*canary.spellings(), "\0"):
        events = [{"eventType": "t", "note": marker} | filled(member, text) for member in MEMBERS]
        batch = {"eventType": "batch", **site, "events": [*events, *(filled(event, text) for event in REFUSED)]}
        body = json.dumps(batch).replace("\\u0000", canary.escaped).encode()
        yield post(body, headers=client)
        yield post(body, headers=client, target="/collect?x")
        yield post(gzip.compress(body, 1), headers=[*client, GZIP])
        yield post(body, headers=[*client, "DNT: 1"])
    rest = {"eventType": "batch", "events": [{"eventType": "t", "note": marker}, {"n": 1}]}
    for member in MEMBERS:
        batch = {"batchId": canary.text, "sentAt": canary.text, **filled(member, canary.text)} | rest
        for body in (json.dumps(one).encode() for one in (batch, batch | site)):
            yield post(body, headers=client)
            yield post(body, headers=[*client, "DNT: 1"])
    for text in canary.spellings():
        for malformed in MALFORMED:
            yield post(malformed.format(text).encode(), headers=[JSON_TYPE])
        yield post(gzip.compress(json.dumps({"eventType": "t", "data": text}).encode())[:-9], headers=[JSON_TYPE, GZIP])


def _event(marker: str) -> bytes:
    return json.dumps({"eventType": "t", "note": marker, "url": "https://canaries.example/"}).encode()


def _with_headers(text: str, marker: str, *, is_host: bool) -> Iterator[bytes]:
    for name in HEADERS:
        yield post(_event(marker), headers=[JSON_TYPE, f"{name}: {text}"])
    yield post(_event(marker), headers=[f"Content-Type: text/plain; name={text}"])
    yield post(_event(marker), headers=[f"Content-Type: {text}"])
    # the address of a server, https://192.0.2.1/, is nobody's secret
    hosts = [] if is_host else [f"https://{text}/", f"https://jane:{text}@c.example/"]
    for name in ("User-Agent", "Referer", "Origin"):
        for value in (text, *hosts, f"https://c.example/p/{text}?q={text}#{text}"):
            # the site is what only the header names
            for body in (b'{"eventType":"t"}', b'{"eventType":"t","timestamp":"x"}'):
                yield post(body, headers=[JSON_TYPE, f"{name}: {value}"])
            yield post(b'{"eventType":"t"}', headers=[JSON_TYPE, "Sec-GPC: 1", f"{name}: {value}"])


def _with_targets(text: str, marker: str) -> Iterator[bytes]:
    encoded = quote(text, safe="")
    yield post(_event(marker), headers=[JSON_TYPE], target=f"/collect?{encoded}={encoded}")
    page = quote(f"https://c.example/{text}?q={text}", safe="")
    pixel = f"/pixel.gif?site={encoded}&url={encoded}&{encoded}"
    for target in (pixel, f"/pixel.gif?url={page}", f"/{encoded}", f"/health?{encoded}"):
        yield f"GET {target} HTTP/1.1\r\nHost: x\r\nReferer: https://c.example/?q={text}\r\n\r\n".encode()
        yield f"GET {target} HTTP/1.1\r\nHost: {encoded}\r\nCookie: {text}\r\n\r\n".encode()
    yield f"{text} /collect HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def aborted(canary: Canary) -> Iterator[bytes]:
    """Requests that have it and do not come to their end."""
    whole = post(json.dumps({"eventType": "t", "siteId": "canaries.example", "data": canary.text}).encode())
    yield whole[:-1]
    yield whole.replace(b"\r\n\r\n", b"\r\n")[:-20]
    head = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield head + b"ff\r\n" + whole.partition(b"\r\n\r\n")[2]

"""Generated: requests that no person would write, with what is known of each.

hypothesis draws batches of events. To draw every single request would take it milliseconds each, more than the server
needs, so that a few hundred are drawn and then bent and broken by `random.Random`. All of it follows from one seed.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from evothesis.event import Json
from tests.collector.strategies import ODD, TEXTS, batches
from tests.collector.test_stored_exactly import SOUP

SIZES = (51, 101, 501, 4_097, 8_193, 33_000)
DEPTHS = (1, 30, 33, 200)
MEMBERS = ("eventType", "eventId", "timestamp", "sessionId", "visitorId", "siteId", "url", "path", "data", "events")
HEADERS = {
    b"Content-Type": (
        b"text/html",
        b"",
        b"text/plain;charset=x",
        b"APPLICATION/JSON",
        b"multipart/form-data; boundary=x",
    ),
    b"Content-Encoding": (b"gzip", b"br", b"identity", b"gzip, gzip", b"", b"\xff"),
    b"DNT": (b"1", b"0", b"1 ", b"\xb9"),
    b"Sec-GPC": (b"1", b"true"),
    b"Origin": (b"null", b"https://[", b"https://jane%40example.com", b"\xff\xfe", b"https://" + b"a" * 300),
    b"Referer": (b"https://a.example/?token=x", b"//", b"\xe9", b"http://[::1%25eth0]/", b"https://4111111111111111/"),
    b"User-Agent": (b"", b"\x80\xff", b"x" * 2_000, b"a\tb", b"(+mailto:jane@example.com)"),
    b"X-Forwarded-For": (b"1.2.3.4", b"::1%eth0", b"1.2.3.4/8, unknown", b"\xff"),
    b"Cookie": (b"a=" + b"b" * 4_000,),
    b"Accept-Encoding": (b"gzip",),
    b"X-\xe9": (b"x",),
}
NASTY = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"0", b"9", b"-", b",", b"\xff", b"chunked"),
    *(b"POST / HTTP/1.1", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
)


class Twin(str):
    """The name of a member that another member has, too."""

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Made(NamedTuple):
    """A request, and what is known of it."""

    kind: str
    data: bytes  # as it is sent
    body: bytes = b""  # what is in it
    is_sound: bool = False  # whether all of its events must be taken
    is_framed: bool = True  # whether nobody can doubt where it ends
    refuses: bool = False  # whether its sender does not want to be stored

    @property
    def events(self) -> list[Json]:
        """Its events, as Python reads them: the last of equal names counts, as in jsonb. Empty when it has none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return []
        if not isinstance(document, dict) or document.get("eventType") != "batch":
            return [document]
        events = document.get("events")
        return (
            [{**document, **one} if isinstance(one, dict) else one for one in events]
            if isinstance(events, list)
            else []
        )


class Maker:
    """Requests without end."""

    def __init__(self, seed: int, drawn: int) -> None:
        """They are made of so many batches."""
        self.chance = random.Random(seed)
        self._batches = batches(seed, drawn)
        kinds: dict[Callable[[], Made], int] = {
            self._sound: 35,
            self._bent: 35,
            self._broken: 12,
            self._broken_gzip: 4,
            self._odd_headers: 8,
            self._pixel: 3,
            self._broken_frame: 3,
        }
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def make(self) -> Made:
        """The next one."""
        return self.chance.choices(self._kinds, self._weights)[0]()

    def _sound(self) -> Made:
        body, refuses = self._text(self._document()), self.chance.random() < 0.03
        lines = [b"Sec-GPC: 1"] if refuses else []
        return Made("sound", self._post(body, lines), body, is_sound=True, refuses=refuses)

    def _bent(self) -> Made:
        document = copy.deepcopy(self._document())
        for _ in range(self.chance.randint(1, 3)):
            self._bend(document)
        body = self._text(document)
        return Made("bent", self._post(body), body)

    def _broken(self) -> Made:
        body = self._break(self._text(self._document()), SOUP)
        return Made("broken", self._post(body), body)

    def _broken_gzip(self) -> Made:
        body = self._text(self._document())
        zipped = self._break(gzip.compress(body, 1), SOUP)
        return Made("broken gzip", self._frame(zipped, [b"Content-Type: text/plain", b"Content-Encoding: gzip"]), body)

    def _odd_headers(self) -> Made:
        body = self._text(self._document())
        names = self.chance.sample(list(HEADERS), self.chance.randint(1, 4))
        said = {name: self.chance.choice(HEADERS[name]) for name in names}
        refuses = said.get(b"DNT", b"").strip() == b"1" or said.get(b"Sec-GPC") == b"1"
        lines = [b"%b: %b" % line for line in ({b"Content-Type": b"text/plain"} | said).items()]
        return Made("odd headers", self._frame(body, lines), body, refuses=refuses)

    def _pixel(self) -> Made:
        texts = [quote(str(value), safe="", errors="surrogatepass")[:2_000] for value in self.chance.choices(ODD, k=3)]
        query = "site={}&url={}&{}".format(*texts).encode()
        target = self._break(query, (b"%", b"%ff", b"&", b"=", b"+", b"%00", b"\xff")).translate(None, b" \r\n\t\0")
        return Made("pixel", b"GET /pixel.gif?%b HTTP/1.1\r\nHost: x\r\n\r\n" % target)

    def _broken_frame(self) -> Made:
        made = self._sound()
        return Made("broken frame", self._break(made.data, NASTY), made.body, is_framed=False)

    def _document(self) -> dict[str, Any]:
        """A sound batch or event, whose events have ids of their own."""
        batch = self.chance.choice(self._batches)
        events: list[dict[str, Any]] = [event | {"eventId": self._id()} for event in batch["events"]]
        if self.chance.random() < 0.3:
            return events[0] | {"siteId": batch["siteId"]}
        return {"eventType": "batch", **batch, "events": events}

    def _id(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128)))

    def _text(self, document: Json) -> bytes:
        separators = self.chance.choice([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")])
        text = json.dumps(document, ensure_ascii=self.chance.random() < 0.5, separators=separators)
        return text.encode("utf-8", "surrogatepass")

    def _bend(self, document: dict[str, Any]) -> None:
        """Change one member or element, wherever it stands."""
        chance = self.chance
        holder, key = chance.choice(list(_places(document)))
        kind = chance.choice(("swap", "swap", "drop", "double", "nest", "grow", "rename", "repeat"))
        if kind == "swap":
            holder[key] = chance.choice(ODD)
        elif kind == "drop":
            del holder[key]
        elif kind == "nest":
            for _ in range(chance.choice(DEPTHS)):
                holder[key] = [holder[key]] if chance.random() < 0.5 else {"a": holder[key]}
        elif kind == "grow":
            holder[key] = chance.choice(("x", "é", "1", "a@b.co ")) * chance.choice(SIZES)
        elif isinstance(holder, list):
            holder.extend(holder * (400 if chance.random() < 0.02 else 1))  # more than a batch may have
        elif kind == "double":
            holder[Twin(key)] = chance.choice(ODD)
        else:
            holder[chance.choice((*MEMBERS, *TEXTS))] = holder.pop(key)

    def _break(self, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
        """Replace, repeat or leave out a few bytes."""
        chance = self.chance
        for _ in range(chance.randint(1, 3)):
            begin = chance.randrange(len(data) or 1)
            end = begin + chance.choice((0, 1, 1, 2, 8, 40))
            data = data[:begin] + chance.choice((b"", *pieces, data[begin:end] * 2)) + data[end:]
        return data

    def _post(self, body: bytes, lines: list[bytes] | None = None) -> bytes:
        """A POST in one of the forms in which senders put it."""
        lines = [*(lines or []), self.chance.choice((b"Content-Type: application/json", b"Content-Type: text/plain"))]
        if self.chance.random() < 0.15:
            return self._frame(gzip.compress(body, 1), [*lines, b"Content-Encoding: gzip"])
        return self._frame(body, lines)

    def _frame(self, body: bytes, lines: list[bytes]) -> bytes:
        """A POST that aiohttp answers in two of three forms."""
        form = self.chance.choice(("plain", "plain", "target", "chunked"))
        head = b"POST /collect%b HTTP/1.1\r\nHost: x\r\n" % (b"?x" if form == "target" else b"")
        head += b"".join(line + b"\r\n" for line in lines)
        if form != "chunked":
            return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        size = self.chance.choice((7, 100, 2_000, 2**20)) if len(body) < 10_000 else 2**20
        parts = [body[begin : begin + size] for begin in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, chunks)


def _places(value: Json) -> Iterator[tuple[Any, Any]]:
    """Where something stands: what holds it, and its name or number there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield value, key
        yield from _places(part)

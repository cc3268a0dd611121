"""Site: a web site with the tag on its pages; what is stored of its visits; a path to the collector that can break."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from tests.appliance import Appliance, eventually

FORWARDED = {"/tracking.js", "/collect"}
SLOW_SECONDS = 7  # and the tracker waits ten

STORED = """
select event_id::text, event_type, session_id, visitor_id, site_id, url, path,
       (raw_event_data -> 'data') - 'viewId' - 'sequence' as data, raw_event_data -> 'data' ->> 'viewId' as view_id,
       (raw_event_data -> 'data' ->> 'sequence')::integer as sequence
from events_log where site_id = %(site_id)s order by timestamp, sequence
"""

PAGE = """<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>{title}</title>{tag}</head>
  <body>
    <nav>
      <ul><li><a href="/one">One</a></li><li><a class="wide  dark" href="/two#part">The <b>second</b> page</a></li></ul>
    </nav>
    <button id="buy" class="button">Buy   it
      now</button>
    <p id="contact">Write to jane.doe+shop@example.com or pay with 4111 1111 1111 1111.</p>
    <section id="box" style="padding: 20px"><p>Words</p><p>More words</p></section>
    <label>Name <input id="name" value="prefilled"></label>
    <button id="greet">Hello <span data-private>Jane</span></button>
    <div data-private><button id="secret">Balance: 12</button></div>
    <div id="note" contenteditable>typed <i>words</i></div>
    {body}
    <div style="height: 4000px"></div>
  </body>
</html>
"""


class Stored(NamedTuple):
    """One row of events_log."""

    event_id: str
    event_type: str
    session_id: str
    visitor_id: str
    site_id: str
    url: str
    path: str
    data: dict[str, Any]  # without the two that follow, which all events have
    view_id: str
    sequence: int


class Site:
    """Every path is a page. `/tracking.js` and `/collect` lead to the collector, as behind a site's own proxy.

    `fault`: "lost" forwards what is sent and loses the answer; "busy" answers 503 with Retry-After itself; "slow"
    answers after seconds. A page may also `POST /tell`: a record of what it did that no tracker made.
    """

    _numbers = itertools.count(1)

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.name = f"shop-{next(self._numbers)}.test"  # an appliance is shared, the rows are told apart by this
        self.write_tags(off="engagement vitals dead_click")  # what pages have to say without a visitor
        self.title = "A page"
        self.body = ""
        self.headers: dict[str, str] = {}
        self.fault: Literal["", "lost", "busy", "slow"] = ""
        self.bodies: list[bytes] = []  # what arrived at /collect of this site
        self.told: list[tuple[float, str]] = []  # when, by the monotonic clock, and what
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def write_tags(self, **options: str) -> None:
        """Write the tag anew: `off="scroll"` is its attribute `data-off`. `own_tag` leads through this site."""
        attributes = "".join(f' data-{name}="{value}"' for name, value in {"site": self.name, **options}.items())
        self.tag = f'<script async src="{self.appliance.url}/tracking.js"{attributes}></script>'
        self.own_tag = f'<script async src="/tracking.js"{attributes}></script>'

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def stored(self, count: int, *, timeout: float = 15) -> list[Stored]:
        """All events, oldest first, once there are at least `count`."""

        def is_enough() -> bool:
            return len(self._read()) >= count

        eventually(is_enough, timeout=timeout, message=f"fewer than {count} events are stored")
        return self._read()

    def seen(self, event_type: str) -> list[Stored]:
        """The events of one type, when nothing is on its way any more."""
        self.appliance.wait_until_drained()
        return [event for event in self._read() if event.event_type == event_type]

    def _read(self) -> list[Stored]:
        return [Stored(**row) for row in self.appliance.rows(STORED, {"site_id": self.name})]

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask the collector; its status, headers and body."""
        collector = urlsplit(self.appliance.url)
        connection = http.client.HTTPConnection(str(collector.hostname), collector.port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *connection: Any) -> None:  # noqa: ANN401 - as the base class has them
        self._site = site
        super().__init__(*connection)

    def parse_request(self) -> bool:
        is_valid = super().parse_request()
        self.path = self.path.removeprefix(f"http://{self._site.name}")  # so a browser asks its proxy
        return is_valid

    def do_GET(self) -> None:
        if self.path in FORWARDED:
            self._forward("GET", b"")
        else:
            page = PAGE.format(title=self._site.title, tag=self._site.tag, body=self._site.body).encode()
            self._answer(200, {"Content-Type": "text/html; charset=utf-8", **self._site.headers}, page)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/tell":
            self._site.told.append((time.monotonic(), body.decode()))
            return self._answer(200, {}, b"")
        self._site.bodies.append(body)
        if self._site.fault == "busy":
            return self._answer(503, {"Retry-After": "3"}, b"")
        if self._site.fault == "slow":
            time.sleep(SLOW_SECONDS)
        return self._forward("POST", body)

    def _forward(self, method: str, body: bytes) -> None:
        kept = {name: self.headers[name] for name in ("Content-Type", "User-Agent", "Origin") if self.headers[name]}
        status, headers, answer = self._site.forward(method, self.path, kept, body)
        if method == "POST" and self._site.fault == "lost":
            self.close_connection = True
        else:
            self._answer(status, {"Content-Type": headers["Content-Type"]}, answer)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # the page is gone, and its request with it
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Say nothing: the tests do."""

"""The operator's page in a browser: what it shows, to whom, and what it says when something is wrong."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, WebSocket, expect

from tests.admin.desk import document, token
from tests.appliance import TOKEN, Appliance, eventually
from tests.browser.operator import PUBLIC_URL, SITES, batch, busy, enter, is_filled, keep, violations
from tests.collector.client import ask, collect
from tests.fix_appliance import MakeAppliance

WIDTHS = {"desk": 1280, "phone": 390}
EVENTS = 10
GROWTHS = 3  # of what is stored, while it is looked at
STORED = "select count(*) as total from events_log"
LOADED = """
select sum(accepted)::int as events, sum(rejected)::int as rejected from loads
 where hour > date_trunc('hour', now()) - interval '24 hours'
"""
BY_SITE = "select site_id, sum(accepted)::int as events from usage_ledger group by site_id order by site_id"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """One for all of them."""
    with busy(tmp_path_factory.mktemp("operator"), postgres_template) as appliance:
        yield appliance


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A tab; whatever the browser complains of, its policy too, fails the test. A refusal is no complaint."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    assert [] == [text for text in complaints if "Failed to load resource" not in text and "WebSocket" not in text]


def figure(page: Page, term: str) -> str:
    """What stands at a glance."""
    return page.locator("#figures div", has=page.locator("dt", has_text=term)).locator("dd").first.inner_text()


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", "desk"),
        ("dark", "phone"),
        pytest.param("light", "phone", marks=pytest.mark.long),
        pytest.param("dark", "desk", marks=pytest.mark.long),
    ],
)
def test_looks(served: Appliance, page: Page, scheme: Any, width: str) -> None:  # noqa: ANN401 - one of its literals
    """By day and by night, at a desk and on a phone: nothing keeps anybody from reading it, nothing sticks out."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": WIDTHS[width], "height": 900})
    enter(page, served)
    is_filled(page)
    page.get_by_text("What browsers lost was measured").wait_for()
    page.get_by_role("button", name="Watch", exact=True).click()
    page.get_by_text("Connected;").wait_for()
    collect(served.url, batch(SITES[0], 4))
    page.locator("#tail li").nth(3).wait_for()
    page.locator("#tail button").first.click()
    keep(page, f"{scheme}-{width}")

    assert [] == violations(page)
    assert WIDTHS[width] == page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wrong_token(served: Appliance, page: Page, scheme: Any) -> None:  # noqa: ANN401 - one of its literals
    """Without a token there is nothing but a question for it; a wrong one is told to be wrong."""
    page.emulate_media(color_scheme=scheme)
    enter(page, served, "wrong")
    page.get_by_text("This token is not known, was revoked, or has expired.").wait_for()
    keep(page, f"{scheme}-refused")

    assert [] == violations(page)
    assert not page.locator("#board").is_visible()


def test_scope(served: Appliance, page: Page) -> None:
    """A token that may not read is told so."""
    enter(page, served, token(served, "deliverer", "--scope", "export"))

    page.get_by_text("This token has not the scope read.").wait_for()


def test_numbers(served: Appliance, page: Page) -> None:
    """While events stream in the API says what the database says; afterwards the page does too."""
    is_enough = threading.Event()

    def send() -> None:
        sites = itertools.cycle(f"load-{number}.example" for number in range(3))
        while not is_enough.is_set():
            assert EVENTS == collect(served.url, batch(next(sites), EVENTS)).json["accepted"]

    enter(page, served)
    looks: list[tuple[int, int, int]] = []
    with ThreadPoolExecutor(1) as executor, ExitStack() as stack:
        stack.callback(is_enough.set)
        sending = executor.submit(send)
        while len({total for _, total, _ in looks}) <= GROWTHS and not sending.done():
            before = served.rows(STORED)[0]["total"]
            past = served.rows("select sum(accepted)::int as n from usage_ledger where writer = 7")[0]["n"]
            total = document(served, "/events/count")["total"] - past
            looks.append((before, total, served.rows(STORED)[0]["total"]))
    sending.result()
    served.wait_until_drained()

    assert [] == [look for look in looks if sorted(look) != list(look)]
    loaded = served.rows(LOADED)[0]
    hours = document(served, "/events/traffic")["hours"]
    assert loaded == {name: sum(hour[name] for hour in hours) for name in ("events", "rejected")}
    page.reload()
    is_filled(page)
    eventually(lambda: f"{loaded['events']:,}" == figure(page, "Last day"))
    usage = document(served, "/usage")
    assert f"{usage['amount']} USD" == figure(page, "This month")
    shown = {row.split("\t")[0]: row.split("\t")[2] for row in page.locator("#sites tr").all_inner_texts()}
    assert {row["site_id"]: f"{row['events']:,}" for row in served.rows(BY_SITE)} == shown


def test_warnings(served: Appliance, page: Page) -> None:
    """What needs a person is said with what to do, and how many things there are stands in the tab's title."""
    enter(page, served)
    is_filled(page)
    advice = page.locator("#advice li")

    expect(advice.filter(has_text="own: ")).to_have_count(1)
    expect(page.locator("#exports tr", has_text="own")).to_contain_text("failed 1 time")
    expect(page.locator("#exports tr", has_text="client")).not_to_contain_text("failed")
    assert f"({advice.count()}) Evothesis" == page.title()
    assert page.locator("#state").inner_text().startswith(f"{advice.count()} thing")


def test_loss(served: Appliance, page: Page) -> None:
    """What browsers lost is shown where it was measured: of seven numbers two are missing."""
    enter(page, served)
    page.get_by_text("What browsers lost was measured").wait_for()

    assert "28.57%" == page.locator("#sites tr", has_text=SITES[0]).locator("td").last.inner_text()
    assert "no tracker" == page.locator("#sites tr", has_text=SITES[1]).locator("td").last.inner_text()


def test_tail(served: Appliance, page: Page) -> None:
    """The live tail shows a site's events as text; cut off it goes on and misses none; no address has the token."""
    site = "<img src=x onerror='document.title = 1'>.example"
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - it marks what it is given
    enter(page, served)
    is_filled(page)
    page.get_by_label("Site", exact=True).fill(site)
    page.get_by_role("button", name="Watch", exact=True).click()
    page.get_by_text("Connected; nothing from").wait_for()
    collect(served.url, batch(site, 2))
    collect(served.url, batch("another.example", 2))
    page.locator("#tail li").nth(1).wait_for()
    served.kill("evothesis: admin")
    page.get_by_text("Cut off; connecting again").wait_for()
    collect(served.url, batch(site, 3))
    page.get_by_text("5 events since you watch.").wait_for(timeout=30_000)
    page.locator("#tail button").first.click()

    assert site == json.loads(page.locator("#tail pre").inner_text())["site_id"]
    assert (5, 0) == (page.locator("#tail li").count(), page.locator("#tail img").count())
    assert [] == [socket.url for socket in sockets if TOKEN in socket.url or "bearer" in socket.url]
    assert TOKEN not in served.output_path.read_text()


def test_types(served: Appliance, page: Page) -> None:
    """Of a site that is watched the page says what was stored of it, by type; of another one nothing."""
    site = "<b>types</b>.example"
    events = [{"eventType": kind, "path": f"/{n}"} for n, kind in enumerate(["<i>", "click", "<i>"])]
    collect(served.url, {"eventType": "batch", "siteId": site, "events": events})
    served.wait_until_drained()
    enter(page, served)
    is_filled(page)
    page.locator("#sites button", has_text=site).click()
    types = page.locator("#tail-types")
    expect(types).to_have_text("Stored so far: <i> 2, click 1.")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_label("Site", exact=True).fill("nothing.example")
    page.get_by_role("button", name="Watch", exact=True).click()

    expect(types).to_be_empty()


def test_away(served: Appliance, page: Page, context: BrowserContext) -> None:
    """When the server does not answer the page says of when its numbers are, and recovers by itself."""
    enter(page, served)
    is_filled(page)
    context.set_offline(True)
    away = page.locator("#away")
    expect(away).to_contain_text("The server does not answer. What stands here is of", timeout=20_000)
    keep(page, "light-away")
    assert [] == violations(page)
    context.set_offline(False)

    expect(away).to_be_hidden(timeout=20_000)


def test_revoked(served: Appliance, page: Page) -> None:
    """A token that is revoked while the page is open ends it; one that is forgotten is gone from the tab."""
    enter(page, served, token(served, "short", "--scope", "read"))
    is_filled(page)
    assert 0 == served.cli("token", "revoke", "short").returncode
    page.get_by_text("This token is not known, was revoked, or has expired.").wait_for(timeout=20_000)
    assert {} == page.evaluate("({...sessionStorage})")
    enter(page, served)
    page.get_by_role("button", name="Forget token").click()

    assert page.get_by_label("Token of the operator's API").is_visible()
    assert ({}, {}) == (page.evaluate("({...sessionStorage})"), page.evaluate("({...localStorage})"))


def test_tag(served: Appliance, page: Page, context: BrowserContext) -> None:
    """The tag is copied as it stands there; its hash is that of the script that is served."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    script = ask(served.url, "GET", "/tracking.js").body
    digest = base64.b64encode(hashlib.sha384(script).digest()).decode()
    enter(page, served)
    page.locator("#tag", has_text=PUBLIC_URL).wait_for()
    copied = []
    for button in page.locator("button[data-copies]").all():
        button.click()
        copied.append(page.evaluate("navigator.clipboard.readText()"))

    assert f'<script async src="{PUBLIC_URL}/tracking.js"></script>' == copied[0]
    assert f' integrity="sha384-{digest}" crossorigin="anonymous">' in copied[1]
    page.get_by_label("Where browsers reach the collector").fill("https://Other.example/")
    page.get_by_role("button", name="Write the tag").click()
    expect(page.locator("#tag-of-version")).to_contain_text('src="https://other.example/tracking.')


def test_keyboard(served: Appliance, page: Page) -> None:
    """All of it can be reached without a mouse, the overview with the first key."""
    enter(page, served)
    is_filled(page)
    page.keyboard.press("Tab")
    skip = page.evaluate("document.activeElement.textContent")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))

    assert "To the overview" == skip
    assert {"leave", "site", "watching", "origin", "Copy", *SITES} <= reached


def test_empty(make_appliance: MakeAppliance, page: Page) -> None:
    """Before the first event the page says that there is none, and what to do."""
    appliance = make_appliance()
    enter(page, appliance)
    is_filled(page)
    page.get_by_text("No site has sent anything yet.").wait_for()
    keep(page, "light-empty")

    assert ("0", "0") == (figure(page, "Last day"), figure(page, "Not delivered yet"))
    assert "All is well" == page.locator("#state").inner_text()
    assert [] == violations(page)
    assert "put the real name in place of HOST" in page.locator("#place-state").inner_text()

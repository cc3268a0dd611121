"""The operator's page, as its person opens it, and an appliance that has something to show."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from playwright.sync_api import Page

from tests.appliance import ROOT, TOKEN, Appliance, Settings
from tests.collector.client import collect
from tests.collector.shared import running

AXE = ROOT / "node_modules/axe-core/axe.min.js"
SCREENSHOTS = ROOT / ".venv/.cache/screenshots"
SITES = ("shop.example.com", "blog.example.org", "a-shop-with-a-long-name.example.net")
PUBLIC_URL = "https://collect.example.com"
SETTINGS: Settings = {
    "instance": "acme",
    "server": {"public_url": PUBLIC_URL},
    "export": {
        "destination": [{"name": "client", "url": "file:var/bucket"}, {"name": "own", "url": "file:file/bucket"}]
    },
}

# of a writer that there is not: nothing loads, bills or delivers them, and what the page shows of a day has a past
HISTORY = """
with past as (
  insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                     accepted, duplicate, rejected, withheld, damaged, bytes)
  select 7, n, '', date_trunc('hour', at), at, at,
         (40 + 30 * sin(n / 45.0) + 25 * (n %% 7) + n %% 13)::integer, n %% 3, 0, n %% 2, 0, 4000
    from generate_series(0, 1439) as n, lateral (select now() - (1440 - n) * interval '1 minute' as at) moment
  returning segment_no, hour, accepted
)
insert into usage_ledger (writer, segment_no, site_id, usage_day, accepted, bots, bytes)
select 7, segment_no, (%(sites)s::text[])[segment_no %% 3 + 1], (hour at time zone 'UTC')::date, accepted,
       accepted / 20, accepted * 900
  from past
"""


@contextmanager
def busy(folder: Path, postgres_template: Path) -> Iterator[Appliance]:
    """Three sites, a tracker that lost something, a destination that has all and one that cannot be written to."""
    (folder / "file").touch()
    with running(folder, postgres_template, SETTINGS) as appliance:
        for number, site in enumerate(SITES):
            collect(appliance.url, batch(site, 20 + 10 * number))
        collect(appliance.url, numbered(SITES[0], 1, 2, 4, 5, 7))
        collect(appliance.url, {"eventType": "click", "siteId": SITES[0], "timestamp": "now"})
        collect(appliance.url, batch(SITES[1], 3), {"DNT": "1"})
        appliance.wait_until_drained()
        appliance.cli("export")  # of the two destinations one fails
        with psycopg.connect(appliance.dsn) as connection:
            connection.execute(HISTORY, {"sites": list(SITES)})
            connection.execute("select sum_usage(7, 0, 1440)")
        yield appliance


def batch(site: str, count: int) -> dict[str, Any]:
    """So many events of a site, no two alike."""
    events = [{"eventType": "pageview", "eventId": str(uuid.uuid4()), "path": f"/page/{n}"} for n in range(count)]
    return {"eventType": "batch", "siteId": site, "events": events}


def numbered(site: str, *sequences: int) -> dict[str, Any]:
    """Events as the tracker numbers those of a page view; what is missing between them was lost."""
    milliseconds = f"{int(datetime.now(UTC).timestamp() * 1000):012x}"
    view = f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{uuid.uuid4().hex[:12]}"
    events = [{"eventType": "click", "path": "/", "data": {"viewId": view, "sequence": n}} for n in sequences]
    return {"eventType": "batch", "siteId": site, "events": events}


def enter(page: Page, appliance: Appliance, token: str = TOKEN) -> None:
    """Open the page and type a token, without a mouse."""
    page.goto(appliance.admin_url)
    page.get_by_label("Token of the operator's API").fill(token)
    page.keyboard.press("Enter")


def is_filled(page: Page) -> None:
    """Return when every panel shows something."""
    page.locator("#figures div").nth(4).wait_for()
    for panel in ("parts", "usage", "objectives"):
        page.locator(f"#{panel} dd").first.wait_for()
    page.locator("#exports tr").first.wait_for()


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds wrong for people who see, hear or move otherwise: the rule, and what breaks it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then(({violations}) => violations)")
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"operator-{name}.png", full_page=True)

"""The main job, as its person does it: a visit, rows, Parquet in the bucket, the same number on the bill."""

from __future__ import annotations

from collections import Counter

import duckdb
import polars as pl
from playwright.sync_api import Page

from tests.appliance import Appliance, eventually

ROWS = "select event_id::text, event_type, session_id, visitor_id, site_id, path from events_log order by timestamp"
ARRIVAL_SECONDS_MAX = 2


def test_main_job(demo_appliance: Appliance, page: Page) -> None:
    """What a visitor does is in the database within seconds, then in the bucket, and billed: the same events."""
    page.goto(demo_appliance.demo_url)
    page.get_by_role("link", name="See what is on the shelf").click()
    page.mouse.wheel(0, 20_000)
    page.wait_for_function("() => scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
    page.get_by_role("link", name="Workshop", exact=True).click()
    page.wait_for_url("**/about.html")
    page.goto("about:blank")  # leaving sends the rest
    eventually(lambda: len(demo_appliance.rows(ROWS)) >= 15, timeout=ARRIVAL_SECONDS_MAX)

    rows = demo_appliance.rows(ROWS)
    expected_types = {"pageview": 2, "click": 2, "custom": 1, "scroll": 4, "engagement": 2, "vitals": 2}
    assert {**expected_types, "visibility": 2} == Counter(row["event_type"] for row in rows)
    assert {"/": 11, "/about.html": 4} == Counter(row["path"] for row in rows)
    assert {"127.0.0.1"} == {row["site_id"] for row in rows}
    assert (1, 1) == (len({row["session_id"] for row in rows}), len({row["visitor_id"] for row in rows}))

    report = demo_appliance.export()
    assert [15] == [export["rows"] for export in report["exports"]]
    expected = sorted(row["event_id"] for row in rows)
    files = str(demo_appliance.bucket / "**/*.parquet")
    with duckdb.connect() as connection:
        found = connection.execute("select event_id::varchar from read_parquet(?) order by 1", [files]).fetchall()
    assert expected == [event_id for (event_id,) in found]
    assert expected == sorted(str(event_id) for event_id in pl.read_parquet(files)["event_id"])

    usage = demo_appliance.usage()
    assert 15 == usage["billable"]
    assert (15, {"127.0.0.1": 15}) == (usage["events"], {site["site_id"]: site["events"] for site in usage["sites"]})

"""What can be asked of events, sites and bills: the answers are those of the tables, page by page."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384
from typing import Any
from urllib.parse import quote

import pytest

from tests.admin.conftest import EVENTS
from tests.admin.desk import document, get
from tests.appliance import Appliance, eventually
from tests.collector.client import ask, collect

TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
COUNTS = ("total", "duplicate", "rejected", "withheld")
PLACES = (
    "select writer, segment_no, idx from events_log order by created_at desc, writer desc, segment_no desc, idx desc"
)


def walk(appliance: Appliance, path: str) -> list[dict[str, Any]]:
    """Every event, page by page."""
    found: list[dict[str, Any]] = []
    page = document(appliance, path)
    while page["next"]:
        found += page["events"]
        page = document(appliance, f"{path}&cursor={page['next']}")
    return [*found, *page["events"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("site=shop.example", (EVENTS, 1, 1, 2)),
        ("site=other.example", (0, 0, 0, 0)),
        (f"from={YESTERDAY}&site=shop.example", (EVENTS, 1, 1, 2)),
        (f"from={YESTERDAY}T23&to={TOMORROW}T01&site=shop.example", (EVENTS, 1, 1, 2)),
        (f"to={YESTERDAY}", (0, 0, 0, 0)),
        (f"from={TOMORROW}", (0, 0, 0, 0)),
    ],
)
def test_count(served: Appliance, query: str, expected: tuple[int, ...]) -> None:
    """Counts are by site, and by the hours in which events were received."""
    counted = document(served, f"/events/count?{query}")

    assert expected == tuple(counted[name] for name in COUNTS)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/events/count?code=click", "parameter_unknown"),
        ("/events/count?from=2026-02-30", "from_invalid"),
        ("/events/count?from=2026-02-03T24", "from_invalid"),
        ("/events/count?to=yesterday", "to_invalid"),
        (f"/events/count?from={TODAY}&to={TODAY}", "to_invalid"),
        ("/events/count?site=a&site=b", "site_invalid"),
        ("/events/count?site=", "site_invalid"),
        ("/events/count?site=%00", "site_invalid"),
        ("/events/recent?cursor=x", "cursor_invalid"),
        ("/events/recent?cursor=WyIwMDAxLTAxLTAxVDAwOjAwOjAwWiIsLTEsMCwwXQ==", "cursor_invalid"),
        ("/events/recent?code=x", "parameter_unknown"),
        ("/usage?month=2026-13", "month_invalid"),
        ("/usage?by=hour", "by_invalid"),
        ("/sites?loss=maybe", "loss_invalid"),
        ("/health?verbose=1", "parameter_unknown"),
    ],
)
def test_bad_parameters(served: Appliance, path: str, code: str) -> None:
    """What cannot be answered is refused: no filter is silently without effect."""
    assert (400, code) == get(served, path).error


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_recent_pages(served: Appliance, limit: int) -> None:
    """Pages hold every event once, in one order."""
    served.wait_until_drained()
    found = walk(served, f"/events/recent?limit={limit}")

    assert served.rows(PLACES) == [{name: event[name] for name in ("writer", "segment_no", "idx")} for event in found]


def test_recent_filters(served: Appliance) -> None:
    """Events are chosen by site and type."""
    collect(served.url, {"eventType": "order", "siteId": "other.example"})
    collect(served.url, {"eventType": "click", "siteId": "other.example"})
    served.wait_until_drained()

    found = document(served, "/events/recent?site=other.example&type=order")["events"]
    assert [("other.example", "order")] == [(event["site_id"], event["event_type"]) for event in found]


def test_rejected(served: Appliance) -> None:
    """Refused events are shown with the reason, and as they were sent."""
    found = walk(served, "/events/rejected?limit=1&code=timestamp_invalid")

    assert [("shop.example", "timestamp_invalid")] == [(event["site_id"], event["code"]) for event in found]
    assert '"timestamp":"now"' in found[0]["event"]


def test_usage(served: Appliance) -> None:
    """A bill is the one that the command prints."""
    assert served.usage() == document(served, "/usage")
    assert served.usage("--by", "day") == document(served, f"/usage?by=day&month={TODAY[:7]}")


def test_sites(served: Appliance) -> None:
    """Every site has its counts, and when it was seen."""
    sites = {site["site_id"]: site for site in document(served, "/sites")["sites"]}
    shop = sites["shop.example"]

    assert (EVENTS, 1, 1, 2) == tuple(shop[name] for name in ("events", "duplicates", "rejected", "withheld"))
    assert shop["first_seen_at"][:10] == shop["last_seen_at"][:10] == TODAY


def test_sites_pages(served: Appliance) -> None:
    """Sites come by name, page by page."""
    names = [row["site_id"] for row in served.rows("select site_id from sites order by site_id")]
    page = document(served, "/sites?limit=1")
    rest = document(served, f"/sites?after={page['next']}")["sites"]

    assert names == [site["site_id"] for site in [*page["sites"], *rest]]


def test_sites_loss(served: Appliance) -> None:
    """What browsers lost is told when it is asked for: of three numbers one is missing here."""
    view = "01936f00-0000-7000-8000-000000000000"
    began = f"{int(datetime.now(UTC).timestamp() * 1000):012x}"
    view = f"{began[:8]}-{began[8:]}{view[13:]}"
    for sequence in (1, 3):
        collect(served.url, {"eventType": "click", "siteId": "lossy", "data": {"viewId": view, "sequence": sequence}})
    served.wait_until_drained()

    sites = {site["site_id"]: site for site in document(served, "/sites?loss=true")["sites"]}
    assert ({"sent": 3, "received": 2, "lost": 1}, None) == tuple(
        sites[name]["tracker_loss"] for name in ("lossy", "shop.example")
    )


def test_traffic(served: Appliance) -> None:
    """What came in in the last day is what the loads say, by minute and by hour."""
    found = document(served, "/events/traffic")
    (loaded,) = served.rows("select sum(accepted)::int as events, sum(rejected)::int as rejected from loads")

    for stretches in found.values():
        assert loaded == {name: sum(one[name] for one in stretches) for name in ("events", "rejected")}


def test_objectives(served: Appliance) -> None:
    """The promises are told, of what happened: no request was sent back, and no delivery failed if there was one."""

    def actual() -> dict[str, float | None]:
        return {one["name"]: one["actual"] for one in document(served, "/objectives")["objectives"]}

    eventually(lambda: actual()["load"])  # processes show what they count once a second
    found = actual()
    delivered = 1 if served.rows("select from deliveries where state = 'published'") else None
    assert (1, delivered, True) == (found["requests_taken"], found["deliveries"], 0 <= (found["durable"] or 0) <= 1)


def test_tag(served: Appliance) -> None:
    """The tag leads to the script of which it has the hash."""
    found = document(served, "/tag?origin=https://c.example:8443")
    source = found["tag_of_version"].partition('src="https://c.example:8443')[2].partition('"')[0]
    digest = base64.b64encode(sha384(ask(served.url, "GET", source).body).digest()).decode()

    assert '<script async src="https://c.example:8443/tracking.js"></script>' == found["tag"]
    assert f"sha384-{digest}" == found["integrity"]
    assert "https://HOST" == document(served, "/tag")["origin"]


@pytest.mark.parametrize(
    "origin", ["", "c.example", "ftp://c.example", "https://c.example/", 'https://c"', "https://*.x"]
)
def test_bad_origin(served: Appliance, origin: str) -> None:
    """What is no origin does not come into a tag."""
    assert (400, "origin_invalid") == get(served, f"/tag?origin={quote(origin)}").error


def test_page(served: Appliance) -> None:
    """The page is for anybody; it loads nothing from elsewhere, and a browser runs nothing but what stands in it."""
    answer = ask(served.admin_url, "GET", "/")
    body = answer.body.decode()
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    parts = {"script-src": re.findall("<script>(.*?)</script>", body, re.DOTALL)}
    parts["style-src"] = re.findall("<style>(.*?)</style>", body, re.DOTALL)

    assert (200, "text/html") == (answer.status, answer.headers.get_content_type())
    for name, (text,) in parts.items():
        assert f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" == policy[name]
    assert ("'none'", "'self'") == (policy["default-src"], policy["connect-src"])
    assert [] == re.findall(r"""(?:src|href)=["'](?!#|data:,)""", body)
    assert (400, "parameter_unknown") == ask(served.admin_url, "GET", "/?token=x").error

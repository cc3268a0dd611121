"""The operator's listener, through a real socket: who may ask, and what the answers are worth."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.admin.conftest import EVENTS, filled
from tests.admin.desk import get
from tests.appliance import TOKEN, Appliance, eventually
from tests.collector.client import ask, collect
from tests.collector.shared import running
from tests.fix_postgres import DebianPostgres

SPOKEN = base64.urlsafe_b64encode(TOKEN.encode()).decode().rstrip("=")
COUNTED = """
select (select count(*) from events_log) as total, (select count(*) from rejected_events) as rejected,
       (select sum(duplicate) from loads)::int as duplicate, (select sum(withheld) from loads)::int as withheld
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance of which nobody else asks anything: here everything is counted."""
    with filled(tmp_path_factory.mktemp("counted"), postgres_template) as appliance:
        yield appliance


def newest(appliance: Appliance, query: str = "") -> list[dict[str, Any]]:
    """The answer of /events/recent."""
    answer = get(appliance, f"/events/recent{query}")
    assert 200 == answer.status, answer.body
    events: list[dict[str, Any]] = answer.json["events"]
    return events


@pytest.mark.parametrize("path", ["/events/count", "/events/recent", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no token"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong token"),
        pytest.param({"Authorization": f"Bearer {TOKEN[:-1]}"}, id="token cut"),
        pytest.param({"Authorization": f"Bearer {TOKEN}x"}, id="token and more"),
        pytest.param({"Authorization": "Bearer"}, id="empty token"),
        pytest.param({"Authorization": f"Basic {TOKEN}"}, id="other scheme"),
        pytest.param({"Authorization": TOKEN}, id="no scheme"),
        pytest.param({"Authorization": b"Bearer \xff\xfe"}, id="no text"),
        pytest.param({"Sec-WebSocket-Protocol": f"evothesis, bearer.{SPOKEN}"}, id="as a WebSocket says it"),
        pytest.param({"Cookie": f"token={TOKEN}", "X-Token": TOKEN}, id="elsewhere"),
    ],
)
def test_unauthorized(served: Appliance, path: str, headers: dict[str, str | bytes]) -> None:
    """Without the token in its header nothing is told, not even what there is."""
    answer = ask(served.admin_url, "GET", path, headers=headers)

    assert (401, "unauthorized") == answer.error
    assert "Bearer" == answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
def test_token_in_query(served: Appliance, name: str) -> None:
    """A token in an address, which logs and histories keep, is none."""
    assert (401, "unauthorized") == ask(served.admin_url, "GET", f"/events/count?{name}={TOKEN}").error


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_authorized(served: Appliance, scheme: str) -> None:
    """With the token the operator is answered; the scheme's name has any case (RFC 9110, 11.1)."""
    headers = {"Authorization": f"{scheme} {TOKEN}"}

    assert 200 == ask(served.admin_url, "GET", "/events/count", headers=headers).status


def test_health(served: Appliance) -> None:
    """Whether all is well is told to anyone: monitors have no token."""
    answer = ask(served.admin_url, "GET", "/health")

    assert (200, "ok", []) == (answer.status, answer.json["status"], answer.json["reasons"])
    assert TOKEN not in answer.body.decode()


def test_count(served: Appliance) -> None:
    """The counts are those of the tables."""
    counted = get(served, "/events/count").json

    assert served.rows(COUNTED) == [{name: counted[name] for name in ("total", "rejected", "duplicate", "withheld")}]
    assert (EVENTS, 1, 1, 2) == tuple(counted[name] for name in ("total", "rejected", "duplicate", "withheld"))


def test_count_goes_on(served: Appliance) -> None:
    """What is stored next is counted next."""
    before = get(served, "/events/count").json["total"]
    collect(served.url, {"eventType": "click", "siteId": "later.example"})
    served.wait_until_drained()

    assert before + 1 == get(served, "/events/count").json["total"]


def test_recent(served: Appliance) -> None:
    """The newest events come first, each with its columns and as it was sent."""
    events = [event for event in newest(served) if event["site_id"] == "shop.example"]

    assert list(reversed(range(EVENTS))) == [event["raw_event_data"]["n"] for event in events]
    moments = [datetime.fromisoformat(event["created_at"]) for event in events]
    assert sorted(moments, reverse=True) == moments
    expected = {
        "event_type": "click",
        "session_id": "s1",
        "visitor_id": None,
        "url": "https://shop.example/a",
        "path": "/a",
        "ip_address": "127.0.0.0",
    }
    assert [expected] * EVENTS == [{name: event[name] for name in expected} for event in events]


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_recent_limit(served: Appliance, limit: int) -> None:
    """A limit takes the newest ones."""
    assert newest(served)[:limit] == newest(served, f"?limit={limit}")


def test_recent_default(served: Appliance) -> None:
    """Without a limit there are at most a hundred, with one at most a thousand."""
    events = [{"eventType": "many", "n": n} for n in range(150)]
    collect(served.url, {"eventType": "batch", "siteId": "many.example", "events": events})
    served.wait_until_drained()

    assert 100 == len(newest(served))
    assert 150 <= len(newest(served, "?limit=1000"))


@pytest.mark.parametrize(
    "limit", ["", "0", "-1", "1001", "1.5", "1e2", "ten", "%D9%A1", "%C2%B2", "+1", "%201", "0x10", "9" * 5_000, "%00"]
)
def test_recent_bad_limit(served: Appliance, limit: str) -> None:
    """What is no limit is refused with a word for it."""
    assert (400, "limit_invalid") == get(served, f"/events/recent?limit={limit}").error


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("POST", "/events/count", 405), ("DELETE", "/health", 405)]
)
def test_refused(served: Appliance, method: str, path: str, status: int) -> None:
    """What is not there, or not done so, is refused in the form of all errors."""
    answer = ask(served.admin_url, method, path, headers=served.admin_headers)

    assert status == answer.error[0]


@pytest.mark.parametrize("path", ["/", "/health", "/events/count", "/events/recent", "/nothing"])
def test_golden_headers(served: Appliance, path: str) -> None:
    """No answer names the product, may be kept by anyone, or may be read by a page."""
    for headers in ({}, served.admin_headers):
        answer = ask(served.admin_url, "GET", path, headers=headers)
        assert (None, None) == (answer.headers["Server"], answer.headers["Access-Control-Allow-Origin"])
        assert ("no-store", "nosniff") == (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"])


@pytest.mark.parametrize(("scheme", "expected"), [("https", "max-age=31536000"), ("http", None)])
def test_stays_secure(served: Appliance, scheme: str, expected: str | None) -> None:
    """Who came over HTTPS, through a proxy, is told to come by nothing else."""
    answer = ask(served.admin_url, "GET", "/health", headers={"X-Forwarded-Proto": scheme})

    assert expected == answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/events/recent?site={'x' * 100_000}", {}),
        ("/events/recent", {"X-Large": "x" * 100_000}),
        ("/events/recent", {"Authorization": f"Bearer {'x' * 100_000}"}),
        (f"/events/recent?site={'x' * 201}", {"Authorization": f"Bearer {TOKEN}"}),
    ],
    ids=["query", "header", "token", "parameter"],
)
def test_too_large(served: Appliance, path: str, headers: dict[str, str]) -> None:
    """What is larger than anybody needs is refused, before a token is looked at or after."""
    assert 400 == ask(served.admin_url, "GET", path, headers=headers).status
    assert 200 == get(served, "/events/count").status


def test_body(served: Appliance) -> None:
    """No route reads a body: one of a megabyte changes nothing."""
    assert 405 == ask(served.admin_url, "POST", "/usage", body=b"x" * 2**20, headers=served.admin_headers).status
    assert 200 == get(served, "/events/count").status


def test_priority(served: Appliance) -> None:
    """Who answers people takes no CPU from who takes and stores events."""
    nice = [os.getpriority(os.PRIO_PROCESS, served.pid(f"evothesis: {name}")) for name in ("admin", "loader")]

    assert 5 == nice[0] - nice[1]


def test_no_token_set(tmp_path: Path, postgres_template: Path) -> None:
    """Where no token is configured nobody is let in, also not with an empty one."""
    with running(tmp_path, postgres_template, {"admin": {"token": ""}}) as appliance:
        for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
            assert (401, "unauthorized") == ask(appliance.admin_url, "GET", "/events/count", headers=headers).error


@pytest.mark.crash
def test_database_away(tmp_path: Path, own_postgres: DebianPostgres) -> None:
    """While the database is away the operator is told 503, and of a health that is not; later all is well again."""
    with running(tmp_path, settings={"database": {"url": own_postgres.new_database()}}) as appliance:
        collect(appliance.url, {"eventType": "click", "siteId": "shop.example"})
        appliance.wait_until_drained()
        own_postgres.stop()
        assert (503, "database_unreachable") == get(appliance, "/events/count").error
        # what cannot be loaded lets the loader notice
        assert 1 == collect(appliance.url, {"eventType": "scroll", "siteId": "shop.example"}).json["accepted"]
        eventually(lambda: ask(appliance.admin_url, "GET", "/health").status == 503)

        own_postgres.start()
        eventually(lambda: get(appliance, "/events/count").status == 200, timeout=30)
        eventually(lambda: ask(appliance.admin_url, "GET", "/health").status == 200, timeout=30)
        appliance.wait_until_drained()
        assert ["scroll", "click"] == [event["event_type"] for event in newest(appliance)]

"""Counts by type: the API's answer is what the stored events say, by site, type and hour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest

from evothesis.admin.events import TYPES_MAX
from tests.admin.desk import change, document, get
from tests.appliance import Appliance
from tests.collector.client import collect
from tests.collector.shared import running

OTHERS = ("duplicate", "rejected", "withheld", "bots")
SENT = {"a.example": {"click": 3, "order": 2}, "b.example": {"click": 1}}
FILL: LiteralString = """
insert into usage_types (hour, site_id, event_type, events)
select date_trunc('hour', now()) - interval '3 hours', 'many.example', 'type ' || n, n from generate_series(1, 150) as n
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance with events of two types at two sites, and a refused one."""
    with running(tmp_path_factory.mktemp("types"), postgres_template) as appliance:
        for site, types in SENT.items():
            for kind, events in types.items():
                for number in range(events):
                    collect(appliance.url, {"eventType": kind, "siteId": site, "n": number})
        collect(appliance.url, {"eventType": "click", "siteId": "a.example", "timestamp": "now"})
        appliance.wait_until_drained()
        yield appliance


def count(served: Appliance, query: str) -> dict[str, Any]:
    """The answer of /events/count."""
    counted: dict[str, Any] = document(served, f"/events/count?{query}")
    return counted


def hour(served: Appliance, hours: int) -> str:
    """The hour in which the events were received, and so many later."""
    received: datetime = served.rows("select max(hour) as hour from loads")[0]["hour"]
    return f"{received + timedelta(hours=hours):%Y-%m-%dT%H}"


def test_not_asked(served: Appliance) -> None:
    """Who does not ask for types is told of none."""
    counted = count(served, "")

    assert (6, 1, None, None) == tuple(counted[name] for name in ("total", "rejected", "types", "types_since"))


@pytest.mark.parametrize(
    ("query", "total", "types"),
    [
        ("type=click", 4, {"click": 4}),
        ("type=click&site=a.example", 3, {"click": 3}),
        ("type=order&site=b.example", 0, {}),
        ("type=CLICK", 0, {}),
        ("type=click&by=type", 4, {"click": 4}),
        ("by=type&site=a.example", 5, {"click": 3, "order": 2}),
        ("by=type", 6, {"click": 4, "order": 2}),
    ],
)
def test_by_type(served: Appliance, query: str, total: int, types: dict[str, int]) -> None:
    """By site and type; of one type alone nobody knows what was refused of it."""
    counted = count(served, query)

    assert (total, types) == (counted["total"], counted["types"])
    assert list(types) == list(counted["types"]), "the most frequent first"
    assert [query.startswith("type=")] * len(OTHERS) == [counted[name] is None for name in OTHERS]


def test_by_hour(served: Appliance) -> None:
    """Within the hour of their receipt, and not the one before or behind it."""
    within = {
        (begin, end): count(served, f"type=click&from={hour(served, begin)}&to={hour(served, end)}")["total"]
        for begin, end in ((-1, 0), (0, 1), (1, 2), (-2, 2))
    }

    assert {(-1, 0): 0, (0, 1): 4, (1, 2): 0, (-2, 2): 4} == within


def test_other(served: Appliance) -> None:
    """Who asks for a type is told how many events have a type without a name: it may be one of these."""
    change(served, "insert into usage_types values (date_trunc('hour', now()), 'full.example', '(other)', 7)")

    counted = count(served, "type=click&site=full.example")
    assert (0, {"(other)": 7}) == (counted["total"], counted["types"])
    assert 7 == count(served, "type=(other)&site=full.example")["total"]


def test_many(served: Appliance) -> None:
    """An answer names the most frequent types, and adds the others up."""
    change(served, FILL)
    types = count(served, "by=type&site=many.example")["types"]

    named = {f"type {n}": n for n in range(150, 150 - TYPES_MAX, -1)}
    assert named | {"(other)": sum(range(1, 151)) - sum(named.values())} == types


def test_since(served: Appliance) -> None:
    """Where something was stored before types were counted, the answer says from which hour on they are whole."""
    assert count(served, "by=type")["types_since"] is None
    change(served, "update writers set types_from_segment_no = 1")

    since = datetime.fromisoformat(count(served, "by=type")["types_since"])
    assert hour(served, 1) == f"{since:%Y-%m-%dT%H}"
    change(served, "update writers set types_from_segment_no = 0")


@pytest.mark.parametrize(
    ("query", "code"), [("by=site", "by_invalid"), ("type=", "type_invalid"), ("types=click", "parameter_unknown")]
)
def test_refused(served: Appliance, query: str, code: str) -> None:
    """What it cannot be asked is refused, so that no filter is silently without effect."""
    assert (400, code) == get(served, f"/events/count?{query}").error

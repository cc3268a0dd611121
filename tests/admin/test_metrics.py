"""Metrics: what is counted is what was done, and Prometheus can read it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are another package
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from evothesis.admin.metrics import GAUGES
from evothesis.numbers import BATCH, EVENTS, METRICS, REJECTED, Board, place, places
from tests.admin.conftest import EVENT, delivering, filled
from tests.admin.conftest import EVENTS as SENT
from tests.admin.desk import change, get
from tests.agents import CRAWLER
from tests.appliance import ROOT, Appliance, eventually
from tests.collector.client import collect

NAMES = {metric.name for metric in METRICS} | {gauge.name for gauge in GAUGES}
NEVER = {"evothesis_invariant_difference"}  # test_difference_is_seen gives it one
PARTS = re.compile(r"_(bucket|sum|count)$")  # of a histogram
USED = re.compile(r"\bevothesis_\w+")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance of which nobody else asks anything: here everything is counted."""
    with filled(tmp_path_factory.mktemp("counted"), postgres_template) as appliance:
        yield appliance


def families(appliance: Appliance) -> dict[str, Metric]:
    """What is served, as Prometheus understands it."""
    text = get(appliance, "/metrics").body.decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(appliance: Appliance) -> dict[tuple[str, ...], float]:
    """Each number by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families(appliance).values()
        for sample in family.samples
    }


def plain(text: str) -> set[str]:
    """The metrics that a text names."""
    return {name if name in NAMES else PARTS.sub("", name) for name in USED.findall(text)}


def test_counted(served: Appliance) -> None:
    """Counts are those of what was sent, whichever process counted."""
    expected = {
        ("evothesis_events_total", "accepted"): SENT + 1,  # one of them twice
        ("evothesis_events_total", "rejected"): 1,
        ("evothesis_events_rejected_total", "timestamp_invalid"): 1,
        ("evothesis_events_total", "withheld"): 2,
        ("evothesis_requests_total", "200"): SENT + 3,
        ("evothesis_request_events_count",): SENT + 3,
        ("evothesis_loaded_events_total", "stored"): SENT,
        ("evothesis_loaded_events_total", "duplicate"): 1,
        ("evothesis_loaded_events_total", "rejected"): 1,
        ("evothesis_loaded_events_total", "withheld"): 2,
        ("evothesis_ack_seconds_count",): SENT + 3,
        ("evothesis_spool_segments",): 2,
        ("evothesis_database_up",): 1,
        ("evothesis_export_lag_events", "client"): SENT,
        ("evothesis_invariant_difference", "loads_usage"): 0,
        ("evothesis_invariant_difference", "loads_events"): 0,
        ("evothesis_invariant_difference", "loads_positions"): 0,
    }

    def are_right() -> bool:
        found = values(served)
        assert expected == {name: found.get(name) for name in expected}
        return True

    assert eventually(are_right)  # processes show their numbers every second


def test_refusals(served: Appliance) -> None:
    """Requests that are refused are counted by their status."""
    before = values(served)[("evothesis_requests_total", "415")]
    assert 415 == collect(served.url, EVENT, {"Content-Type": "text/html"}).status

    assert eventually(lambda: values(served)[("evothesis_requests_total", "415")] == before + 1)


def test_restart(served: Appliance) -> None:
    """A process that is started again goes on counting where the one before it was."""
    before = eventually(lambda: values(served)[("evothesis_events_total", "accepted")])
    for name in ("evothesis: collector 0", "evothesis: collector 1", "evothesis: loader"):
        served.kill(name)
    eventually(lambda: collect(served.url, EVENT | {"n": "after"}).status == 200)

    assert eventually(lambda: values(served)[("evothesis_events_total", "accepted")] > before)


def test_difference_is_seen(served: Appliance) -> None:
    """An event that is missing from the table is a difference."""
    collect(served.url, EVENT | {"siteId": "missing.example"})
    served.wait_until_drained()
    change(served, "delete from events_log where site_id = 'missing.example'")

    assert eventually(lambda: values(served)[("evothesis_invariant_difference", "loads_events")] == 1)


def test_names(served: Appliance) -> None:
    """Everything that is known is served, with a type, a text, and the unit in its name."""
    found = families(served)

    assert {name.removesuffix("_total") for name in NAMES} - {"evothesis_export_success_timestamp_seconds"} == {
        name for name in found if found[name].documentation
    } - {"evothesis_export_success_timestamp_seconds"}


def test_under_load(tmp_path: Path, postgres_template: Path) -> None:
    """Everything has another value than 0 once there is work, but for what must never have one."""
    seen: set[str] = set()
    with delivering(tmp_path, postgres_template) as appliance:
        assert 1 == appliance.cli("export").returncode  # to one of two destinations

        def is_seen() -> bool:
            collect(appliance.url, EVENT | {"n": time.monotonic()}, {"User-Agent": CRAWLER})
            collect(appliance.url, EVENT | {"timestamp": "now"})
            seen.update(name for (name, *_), value in values(appliance).items() if value)
            assert NAMES - NEVER == plain(" ".join(seen))
            return True

        assert eventually(is_seen)


def test_elsewhere(tmp_path: Path) -> None:
    """What the collectors of another `serve` count is added; what another version wrote is nothing."""
    there, here = Board(1), Board(1, elsewhere=tmp_path)
    for board, count in ((there, 3), (here, 4)):
        row = board.row(0)
        row.add(place(EVENTS, "accepted"), count)
        row.publish()
    totals = [here.total()[place(EVENTS, "accepted")]]
    there.show(tmp_path)
    totals.append(here.total()[place(EVENTS, "accepted")])
    [shown] = tmp_path.iterdir()
    for other in (shown.read_bytes() * 2, b"short"):
        shown.write_bytes(other)
        totals.append(here.total()[place(EVENTS, "accepted")])

    assert [4, 7, 4, 4] == totals


def test_documents() -> None:
    """docs/metrics.md explains every metric; dashboard and alerts name no other."""
    texts = {path.name: path.read_text() for path in [ROOT / "docs/metrics.md", *(ROOT / "packaging").glob("*.*")]}

    assert NAMES == plain(texts["metrics.md"])
    assert {} == {name: plain(text) - NAMES for name, text in texts.items() if plain(text) - NAMES}


def test_row() -> None:
    """A row is what its process counted, and shows it when it is told to."""
    board = Board(2)
    row = board.row(1)
    row.add(place(EVENTS, "accepted"), 3)
    row.add(place(REJECTED, "a code that nobody thought of"))
    for value in (1, 2, 3, 10_000):
        row.observe(places(BATCH), value)
    before = sum(board.total())
    row.publish()
    first, bounds, total = places(BATCH)
    shown = board.total()

    assert 0 == before
    assert (3, 1) == (shown[place(EVENTS, "accepted")], shown[place(REJECTED, "other")])
    assert [1, 1, 1, *[0] * (len(bounds) - 3), 1, 10_006] == shown[first : total + 1]


def test_packaging() -> None:
    """Dashboard and rules can be read; every alert says what it is about and what to do."""
    dashboard = json.loads((ROOT / "packaging/grafana-dashboard.json").read_text())
    groups = yaml.safe_load((ROOT / "packaging/prometheus-rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert [] == [panel["title"] for panel in dashboard["panels"] if not all(t["expr"] for t in panel["targets"])]
    assert len(dashboard["panels"]) == len({panel["id"] for panel in dashboard["panels"]})
    assert [] == [rule["alert"] for rule in rules if {"summary", "description"} != rule["annotations"].keys()]
    assert [] == [rule["alert"] for rule in rules if rule["labels"]["severity"] not in ("page", "ticket")]

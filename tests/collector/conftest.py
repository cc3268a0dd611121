"""Appliances that the tests of the collector share, and a site for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import Appliance
from tests.collector.shared import pytest_runtest_makereport, running

__all__ = ["pytest_runtest_makereport"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance with every setting at its default."""
    with running(tmp_path_factory.mktemp("collector"), postgres_template) as appliance:
        yield appliance


@pytest.fixture(scope="session")
def proxied(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance behind a proxy, with limits, other paths and full addresses."""
    settings = {
        "server": {
            "proxies": ["127.0.0.1", "10.0.0.0/8", "fd00::/8"],
            "collect_path": "/in/c",
            "script_path": "/js/t.js",
        },
        "limits": {"per_address": 5, "per_site": 5},
        "privacy": {"ip": "full", "signals": "ignore"},
    }
    with running(tmp_path_factory.mktemp("proxied"), postgres_template, settings) as appliance:
        yield appliance


@pytest.fixture(scope="session")
def anonymising(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that hashes addresses and takes identity from the events of those who refuse."""
    settings = {"privacy": {"ip": "hash", "signals": "anonymise"}}
    with running(tmp_path_factory.mktemp("anonymising"), postgres_template, settings) as appliance:
        yield appliance


@pytest.fixture(scope="session")
def addressless(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that keeps no addresses."""
    settings = {"privacy": {"ip": "none"}}
    with running(tmp_path_factory.mktemp("addressless"), postgres_template, settings) as appliance:
        yield appliance


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that takes events of some sites, and of pages of some origins."""
    settings = {
        "server": {
            "origins": ["https://shop.example", "https://*.wide.example", "http://127.0.0.1:8080", "http://[::1]:8080"]
        },
        "limits": {"sites": ["shop.example", "*.wide.example", "An App"]},
    }
    with running(tmp_path_factory.mktemp("listed"), postgres_template, settings) as appliance:
        yield appliance


@pytest.fixture
def site() -> str:
    """A site that no other test speaks of."""
    return f"site-{next(_numbers)}.example"


@pytest.fixture
def unharmed(collector: Appliance) -> Iterator[None]:
    """The collectors outlive the test, and complain of nothing."""
    before, said = collector.processes(), len(collector.output_path.read_text())
    yield
    after, complaints = collector.processes(), collector.output_path.read_text()[said:]
    names = [{pid: name for pid, name in one.items() if "collector" in name} for one in (before, after)]
    assert names[0] == names[1]
    assert "ERROR" not in complaints
    assert "Traceback" not in complaints

"""One appliance for most tests of this folder, each of which has a site of its own; files that count have theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance import Appliance
from tests.collector.client import collect
from tests.collector.shared import pytest_runtest_makereport, running

__all__ = ["pytest_runtest_makereport"]

EVENTS = 25
EVENT = {"eventType": "click", "siteId": "shop.example", "url": "https://shop.example/a", "sessionId": "s1"}


@contextmanager
def filled(folder: Path, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that has stored events, refused one, seen one twice and withheld two."""
    with running(folder, postgres_template) as appliance:
        for number in range(EVENTS):
            collect(appliance.url, EVENT | {"n": number})
        appliance.wait_until_drained()  # of two that wait, either may be loaded first, and is then the one that counts
        collect(appliance.url, EVENT | {"n": 0})
        collect(appliance.url, EVENT | {"timestamp": "now"})
        collect(appliance.url, {"eventType": "batch", "events": [EVENT, EVENT | {"n": -1}]}, {"DNT": "1"})
        appliance.wait_until_drained()
        yield appliance


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """The appliance that they share."""
    with filled(tmp_path_factory.mktemp("admin"), postgres_template) as appliance:
        yield appliance


@contextmanager
def delivering(folder: Path, postgres_template: Path, **export: str) -> Iterator[Appliance]:
    """An appliance with an event for two destinations: a folder that can be made, and one that cannot."""
    (folder / "file").touch()
    destinations = [{"name": "client", "url": "file:var/bucket"}, {"name": "broken", "url": "file:file/bucket"}]
    settings = {"export": export | {"destination": destinations}}
    with running(folder, postgres_template, settings) as appliance:
        collect(appliance.url, {"eventType": "click", "siteId": "shop.example"})
        appliance.wait_until_drained()
        yield appliance

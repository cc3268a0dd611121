"""One appliance for the tests of a file, and what its operator asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance import Appliance
from tests.collector.client import collect
from tests.collector.shared import pytest_runtest_makereport, running

__all__ = ["pytest_runtest_makereport"]

EVENTS = 25
EVENT = {"eventType": "click", "siteId": "shop.example", "url": "https://shop.example/a", "sessionId": "s1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that has stored events, refused one, seen one twice and withheld two."""
    with running(tmp_path_factory.mktemp("admin"), postgres_template) as appliance:
        for number in range(EVENTS):
            collect(appliance.url, EVENT | {"n": number})
        collect(appliance.url, EVENT | {"n": 0})
        collect(appliance.url, EVENT | {"timestamp": "now"})
        collect(appliance.url, {"eventType": "batch", "events": [EVENT, EVENT | {"n": -1}]}, {"DNT": "1"})
        appliance.wait_until_drained()
        yield appliance

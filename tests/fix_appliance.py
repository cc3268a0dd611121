"""Appliances, started and looked after.

    def test_one(appliance): ...         # runs already; stopped, and looked at, when the test is over
    def test_two(demo_appliance): ...    # with the demo site
    def test_three(make_appliance):      # with settings, or on another PostgreSQL
        appliance = make_appliance({"spool": {"bytes_max": 9_000}, "database": {"url": debian_postgres.new_database()}})

What the server said is printed with a test that fails, and its folder is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.appliance import Appliance, Settings, eventually

__all__ = ["Appliance", "MakeAppliance", "Settings", "eventually"]

MakeAppliance = Callable[..., Appliance]

_made = pytest.StashKey[list[Appliance]]()


@pytest.fixture
def make_appliance(request: pytest.FixtureRequest, tmp_path: Path, postgres_template: Path) -> Iterator[MakeAppliance]:
    """Start appliances: `make_appliance(settings, demo=…)`."""
    made: list[Appliance] = []
    request.node.stash[_made] = made

    def make(settings: Settings | None = None, *, demo: bool = False, start: bool = True) -> Appliance:
        folder = tmp_path / f"appliance-{len(made)}"
        folder.mkdir()
        appliance = Appliance(folder, settings, demo=demo)
        made.append(appliance)
        if appliance.settings["database"]["url"] == "embedded":
            place = folder / "var/postgres"
            place.mkdir(parents=True, mode=0o700)
            shutil.copytree(postgres_template, place / "data")
        return appliance.start() if start else appliance

    yield make
    try:
        for appliance in made:
            if appliance.is_running:
                appliance.stop()
            assert {} == appliance.processes()
    finally:
        for appliance in made:
            appliance.destroy()


@pytest.fixture
def appliance(make_appliance: MakeAppliance) -> Appliance:
    """A running appliance."""
    return make_appliance()


@pytest.fixture
def demo_appliance(make_appliance: MakeAppliance) -> Appliance:
    """A running appliance with the demo site."""
    return make_appliance(demo=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the servers said to the report of a test that failed."""
    report = yield
    if report.failed:
        for appliance in item.stash.get(_made, []):
            report.sections.append((f"evothesis serve in {appliance.folder}", appliance.output()))
    return report

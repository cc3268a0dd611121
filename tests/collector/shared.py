"""Shared: one running appliance for many tests, each of which speaks of a site of its own."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance import Appliance, Settings


@contextmanager
def running(
    folder: Path, postgres_template: Path | None = None, settings: Settings | None = None
) -> Iterator[Appliance]:
    """An appliance in `folder` until the block ends; then it stops in time and leaves no process behind."""
    appliance = Appliance(folder, settings)
    if postgres_template:
        place = folder / "var/postgres"
        place.mkdir(parents=True, mode=0o700)
        shutil.copytree(postgres_template, place / "data")
    try:
        yield appliance.start()
        appliance.stop()
    finally:
        appliance.destroy()
        shutil.rmtree(folder / "var/postgres", ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what shared servers said to the report of a test that failed; each conftest.py takes this hook over."""
    report = yield
    used: dict[str, object] = getattr(item, "funcargs", {})
    if report.failed and "make_appliance" not in used:
        for appliance in {id(value): value for value in used.values() if isinstance(value, Appliance)}.values():
            report.sections.append((f"evothesis serve in {appliance.folder}", appliance.output()))
    return report

"""Loads the fixtures: every tests/fix_*.py is a plug-in."""

from pathlib import Path

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

FOLDER = Path(__file__).parent

pytest.register_assert_rewrite("tests.appliance", "tests.invariants")
pytest_plugins = [f"tests.{file.stem}" for file in sorted(FOLDER.glob("fix_*.py"))]

# no deadlines: a machine that is busy with something else is not a fault of the code;
# the blob is the seed that repeats a failure
hypothesis.settings.register_profile(
    "evothesis",
    deadline=None,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(FOLDER.parent / ".venv/.cache/hypothesis"),
)
hypothesis.settings.load_profile("evothesis")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that mostly wait: in the end they would keep one worker busy, and the others idle."""
    waiting = {item.path for item in items if item.get_closest_marker("crash")}
    driving = {item.path for item in items if item.get_closest_marker("browser")}
    items.sort(key=lambda item: (item.path not in waiting, item.path not in driving))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, figure in getattr(report, "user_properties", ()):
            terminalreporter.write_line(f"{name}: {figure}")

"""Render: files are made beside everything else, and making them may fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import delivered, events, in_order
from tests.exporter.test_crash import begin
from tests.exporter.test_status import status


@pytest.mark.parametrize("size_bytes", [8_000])
def test_no_room(exporting: Exporting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int) -> None:
    """Where a file cannot be made it is said which one and why; nothing is delivered or left, and later all is."""
    (unfinished := tmp_path / "unfinished").mkdir()
    exporting.deliver_to(LOCAL | {"formats": ["csv"]})
    exporting.database.load(events(300), segment_no=0)
    monkeypatch.setenv("TMPDIR", str(unfinished))
    code = begin(exporting, "prlimit", f"--fsize={size_bytes}").wait(60)
    said = (exporting.appliance.folder / "export.log").read_text()

    assert 1 == code
    assert "Error: client: cannot make events/dt=2026-11-22/hr=09/" in said
    assert "Try: is the disk full?" in said
    assert [] == list(unfinished.iterdir())
    assert 1 == status(exporting)["client"]["files"]["planned"]
    assert {} == exporting.run().failed
    assert in_order(exporting.database.expected) == in_order(delivered(exporting.bucket.objects(), "csv"))

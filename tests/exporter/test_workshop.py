"""Workshop: what a killed export leaves behind is removed by the next one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evothesis.exporter.workshop import PREFIX, workshop
from tests.appliance import ROOT

HOLD = """
from evothesis.exporter.workshop import workshop
with workshop() as folder:
    (folder / "1").mkdir()
    (folder / "1" / "file").write_bytes(b"x")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that TMPDIR names."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_left(parent: Path) -> None:
    """A folder whose user works stays; when that one was killed it goes. Files of others stay."""
    (foreign := parent / f"{PREFIX}file").write_bytes(b"not ours")
    (elsewhere := parent / "elsewhere").mkdir()
    (link := parent / f"{PREFIX}link").symlink_to(elsewhere)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        used = Path(process.stdout.readline().strip())
        with workshop():
            is_left_alone = (used / "1/file").exists()
        process.kill()
    is_left_behind = used.exists()
    with workshop() as folder:
        here = set(parent.iterdir())

    assert (True, True) == (is_left_alone, is_left_behind)
    assert {foreign, elsewhere, link, folder} == here
    assert {foreign, elsewhere, link} == set(parent.iterdir())

"""Workshop: what a killed export leaves behind is removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from evothesis.exporter.workshop import PREFIX
from tests.appliance import ROOT

HOLD = """
from evothesis.exporter.workshop import workshop
with workshop() as folder:
    (folder / "1").mkdir()
    (folder / "1" / "file").write_bytes(b"x")
    print(folder, flush=True)
    input()
"""
LOOK = """
from evothesis.exporter.workshop import workshop
with workshop() as folder:
    print(folder, *sorted(folder.parent.iterdir()), sep="\\n")
"""


def begin(parent: Path, script: str) -> subprocess.Popen[str]:
    """A program whose TMPDIR is this folder."""
    environment = os.environ | {"TMPDIR": str(parent)}
    command = [sys.executable, "-c", script]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def look(parent: Path) -> tuple[Path, set[Path]]:
    """The folder of a program that comes next, and what it sees beside it."""
    with begin(parent, LOOK) as process:
        own, *here = map(Path, process.communicate()[0].splitlines())
    assert 0 == process.returncode
    return own, set(here)


def test_left(tmp_path: Path) -> None:
    """A folder whose user works stays; when that one was killed it goes. Files of others stay."""
    (foreign := tmp_path / f"{PREFIX}file").write_bytes(b"not ours")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (link := tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    theirs = {foreign, elsewhere, link}
    with begin(tmp_path, HOLD) as process:
        assert process.stdout
        used = Path(process.stdout.readline().strip())
        second, beside = look(tmp_path)
        is_whole = (used / "1/file").exists()
        process.kill()
    is_left = used.exists()
    third, after = look(tmp_path)

    assert (True, True) == (is_whole, is_left)
    assert {*theirs, used, second} == beside
    assert {*theirs, third} == after
    assert theirs == set(tmp_path.iterdir())

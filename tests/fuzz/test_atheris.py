"""Guided by the branches that they reach, inputs are bred until one breaks a promise; none does."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance import ROOT
from tests.fuzz.targets import TARGETS
from tests.fuzz.test_corpus import CORPUS

RUNS = 100_000
SECONDS_MAX = 60  # for each target; a busy machine makes fewer runs of it
LENGTH_MAX = 32_768


@pytest.mark.long
@pytest.mark.timeout(SECONDS_MAX + 120)
@pytest.mark.parametrize("name", TARGETS)
def test_bred_inputs(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """No input that atheris breeds breaks what a target promises for all, or takes seconds."""
    seed = random.randrange(1, 2**31)
    bred = tmp_path / "bred"
    shutil.copytree(CORPUS / name, bred)
    options = [
        f"-seed={seed}",
        f"-runs={RUNS}",
        f"-max_total_time={SECONDS_MAX}",
    ]
    command = [sys.executable, "-m", "tests.fuzz", name, *options, f"-max_len={LENGTH_MAX}", str(bred)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    runs = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
    record_property(f"{name}, seed {seed}", runs[0] if runs else "broken")

    assert 0 == done.returncode, f"seed {seed}\n{done.stdout[-2_000:]}\n{done.stderr[-6_000:]}"
    assert runs

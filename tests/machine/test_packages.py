"""Packages: the same commit, built again, is the same, byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machine.conftest import Packages

pytestmark = [pytest.mark.machine, pytest.mark.long, pytest.mark.timeout(900)]


def test_reproducible(packages: Packages, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Two builds have equal hashes."""
    again = Packages(tmp_path)

    for one, other in ((packages.deb, again.deb), (packages.pyz, again.pyz)):
        record_property(f"bytes of {one.name}", f"{one.stat().st_size:,}")
        assert hashlib.sha256(one.read_bytes()).hexdigest() == hashlib.sha256(other.read_bytes()).hexdigest()

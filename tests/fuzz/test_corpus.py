"""Corpus: inputs that once broke a promise, or come near to it, break none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = [path for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input(path: Path) -> None:
    """No input breaks what its target promises for all."""
    TARGETS[path.parent.name](path.read_bytes())


def test_folders() -> None:
    """Every target has inputs, and every input has a target."""
    assert (
        sorted(TARGETS)
        == sorted({path.parent.name for path in INPUTS})
        == sorted(path.name for path in CORPUS.iterdir())
    )

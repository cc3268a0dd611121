"""Fixtures of usage."""

from __future__ import annotations

import pytest

from tests.usage.ledger import Ledger


@pytest.fixture
def ledger(database: str) -> Ledger:
    """An empty ledger."""
    return Ledger(database)

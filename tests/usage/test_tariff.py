"""A tariff as it is configured: a file in; prices that can be paid, or an error that names the line, out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from evothesis.config import Usage
from evothesis.configuration import load
from evothesis.errors import ConfigurationError


def tariff(folder: Path, text: str) -> Usage:
    """The tariff that a file says."""
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return load(folder / "config.toml", {}).usage


@pytest.mark.parametrize(
    "text",
    [
        "[usage]\nbillable = 'bots'",
        "[usage]\ntiers = [{ above = 0, rate_per_thousand = '1' }]",
        "[usage]\ntiers = [{ above = 5, rate_per_thousand = '-1' }]",
        "[usage]\ntiers = [{ above = 5, rate_per_thousand = '2' }, { above = 5, rate_per_thousand = '1' }]",
        "[usage]\nminimum = '0.005'",
        "[usage]\nadd_ons = [{ name = 'Compliance', amount = 'nan' }]",
        "[usage]\nadd_ons = [{ name = '', amount = '1' }]",
    ],
)
def test_wrong_price(tmp_path: Path, text: str) -> None:
    """What is no price, cannot be paid, or is no rising row of tiers, is an error that names its line."""
    with pytest.raises(ConfigurationError, match=r"config\.toml:2: "):
        tariff(tmp_path, text)


@pytest.mark.parametrize("rate", ["nan", "inf", "-0.01", "1e12"])
def test_rate_is_money(tmp_path: Path, rate: str) -> None:
    """A rate is finite and not negative."""
    with pytest.raises(ConfigurationError, match=r": rate_per_thousand: .* is no price"):
        tariff(tmp_path, f"[usage]\nrate_per_thousand = '{rate}'")


def test_rate_keeps_its_digits(tmp_path: Path) -> None:
    """A rate that was written as a number is the same as one that was written as text."""
    assert Decimal("0.1") == tariff(tmp_path, "[usage]\nrate_per_thousand = 0.1").rate_per_thousand

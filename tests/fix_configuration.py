"""A configuration file of a test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from evothesis.config import Config
from evothesis.configuration import load
from evothesis.errors import ConfigurationError


class File:
    """A configuration file whose content each call replaces."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, environment: Mapping[str, str] | None = None) -> Config:
        """Read `text` and the environment."""
        self.path.write_text(text, encoding="utf-8")
        return load(self.path, environment or {})

    def error(self, text: str, environment: Mapping[str, str] | None = None) -> tuple[str, str | None]:
        """What reading them fails with, and what to try."""
        with pytest.raises(ConfigurationError) as caught:
            self.load(text, environment)
        return str(caught.value).replace(str(self.path), self.path.name), caught.value.hint

    def place(self, text: str, environment: Mapping[str, str] | None = None) -> str:
        """What the error begins with: the file and the line, or the variable."""
        return self.error(text, environment)[0].partition(": ")[0]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A configuration file."""
    return File(tmp_path / "config.toml")

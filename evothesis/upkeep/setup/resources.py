"""Resources: files that stand at the top of the repository, and inside the package once it is installed."""

from __future__ import annotations

from pathlib import Path

from evothesis.errors import EvothesisError

PACKAGE = Path(__file__).parents[2]


def resource(name: str) -> Path:
    """A file or a folder. Raises EvothesisError."""
    for place in (PACKAGE / name, PACKAGE.parent / name):
        if place.exists():
            return place
    message = f"{name} is missing beside {PACKAGE}"
    raise EvothesisError(message, hint="reinstall the package")

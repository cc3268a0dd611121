"""Store: what is asked of a bucket or a folder. Keys are relative to the destination's prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from evothesis.config import Destination
from evothesis.errors import DeliveryError
from evothesis.exporter.folder import Folder
from evothesis.exporter.s3 import Bucket


class Store(Protocol):
    """All of it may raise DeliveryError, when a person is needed, and UnreachableError, when it may work later."""

    is_conditional: bool
    """Whether the store itself refuses to create what exists; when it does not, `create` looks before."""

    def create(self, key: str, source: Path, sha256: bytes) -> bool:
        """Create an object; False when the key exists."""

    def probe(self, key: str, source: Path, sha256: bytes) -> bool:
        """Create an object, twice; whether the store refused to do it again."""

    def digest(self, key: str, *, may_be_hidden: bool = False) -> bytes | None:
        """The SHA-256 of an object as it is stored, None when there is none.

        Who may not list is forbidden to look at what is not there: `may_be_hidden` takes that for "there is none".
        """

    def read(self, key: str) -> bytes | None:
        """A small object's bytes, None when there is none."""

    def fetch(self, key: str, target: Path) -> bytes | None:
        """Write an object to a file; its SHA-256, None when there is none."""

    def replace(self, key: str, body: bytes) -> None:
        """Create or overwrite a small object."""

    def keys(self, under: str) -> list[str] | None:
        """Every key below a folder, None when the credentials may not list."""


def store(destination: Destination) -> Store:
    """The store of a destination."""
    if destination.url.startswith("file:"):
        return Folder(Path(destination.url.removeprefix("file://").removeprefix("file:")))
    return Bucket(destination)


def bring(target: Store, key: str, source: Path, sha256: bytes) -> None:
    """Create an object that may be there already, and look at it; raises DeliveryError when it is another one."""
    created = target.create(key, source, sha256)
    if target.digest(key) != sha256:
        message = f"{key} {'was not stored as it was sent' if created else 'exists with another content'}"
        raise DeliveryError(message, hint="nothing was overwritten; see who else writes to this prefix")

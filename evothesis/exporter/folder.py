"""Folder: a local folder as a store; see `store`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evothesis.disk import sync_folder
from evothesis.errors import DeliveryError
from evothesis.exporter.decode import sha256_of

UNFINISHED = ".unfinished"
BLOCK_BYTES = 2**20


class Folder:
    """A local folder. An object appears under its name only when it is complete and on disk."""

    is_conditional = True

    def __init__(self, path: Path) -> None:
        """The folder is made when the first object is."""
        self._path = path

    def create(self, key: str, source: Path, sha256: bytes) -> bool:  # noqa: ARG002 - a bucket needs it
        """See Store."""
        with self._reported(key), self._unfinished(key) as (unfinished, final):
            with source.open("rb") as reader, unfinished.open("wb") as writer:
                shutil.copyfileobj(reader, writer, BLOCK_BYTES)
                writer.flush()
                os.fsync(writer.fileno())
            try:
                os.link(unfinished, final)  # unlike a rename it refuses to replace
            except FileExistsError:
                return False
        return True

    def probe(self, key: str, source: Path, sha256: bytes) -> bool:
        """See Store. A file system refuses."""
        self.create(key, source, sha256)
        return True

    def digest(self, key: str, *, may_be_hidden: bool = False) -> bytes | None:  # noqa: ARG002 - a bucket needs it
        """See Store."""
        with self._reported(key):
            try:
                return sha256_of(self._path / key)
            except FileNotFoundError:
                return None

    def read(self, key: str) -> bytes | None:
        """See Store."""
        with self._reported(key):
            try:
                return (self._path / key).read_bytes()
            except FileNotFoundError:
                return None

    def fetch(self, key: str, target: Path) -> bytes | None:
        """See Store."""
        with self._reported(key):
            try:
                source = (self._path / key).open("rb")
            except FileNotFoundError:
                return None
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file, BLOCK_BYTES)
        return sha256_of(target)

    def replace(self, key: str, body: bytes) -> None:
        """See Store."""
        with self._reported(key), self._unfinished(key) as (unfinished, final):
            unfinished.write_bytes(body)
            unfinished.replace(final)

    def keys(self, under: str) -> list[str]:
        """See Store."""
        with self._reported(under):
            return sorted(
                str(file.relative_to(self._path)) for file in (self._path / under).rglob("*") if file.is_file()
            )

    @contextmanager
    def _unfinished(self, key: str) -> Iterator[tuple[Path, Path]]:
        """A place to write to, beside the data, and the final one; a killed export leaves nothing among the data."""
        final = self._path / key
        aside = self._path / UNFINISHED
        shutil.rmtree(aside, ignore_errors=True)  # one export at a time: what lies there is nobody's
        aside.mkdir(parents=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside / final.name, final
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync_folder(final.parent)

    @contextmanager
    def _reported(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"cannot reach {self._path / key}: {error.strerror}"
            raise DeliveryError(message, hint="is the folder writable, and is there room?") from error

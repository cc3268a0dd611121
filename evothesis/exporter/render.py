"""Render: planned chunks in, their files out, in a folder of its own.

A chunk is read once for all of its files, each of which is written by a thread, for polars works while Python waits;
and while one chunk is delivered the next one is rendered.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from polars.exceptions import PolarsError

from evothesis import pg
from evothesis.errors import DeliveryError, EvothesisError
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.encode import FORMATS, Encoded, Source, encode
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.manifest import hash_key, signing_key
from evothesis.exporter.pipe import Pipe
from evothesis.exporter.read import Reader, Stretches


class Name(NamedTuple):
    """What tells one file of a chunk from another: the key tells format and selection."""

    key: str
    schema_version: int

    @classmethod
    def of(cls, delivery: Delivery) -> Name:
        """With the columns of the first time, where it was rendered before."""
        return cls(delivery.key, delivery.schema_version if delivery.sha256 else SCHEMA_VERSION)


class Rendered:
    """What came of a chunk: destinations that want the same get the same file."""

    def __init__(self, files: dict[Name, Future[Encoded]]) -> None:
        """All of them are done."""
        self._files = files

    def of(self, delivery: Delivery) -> Encoded:
        """Raises DeliveryError when rows are missing or the disk is full, UnreachableError without a database."""
        return self._files[Name.of(delivery)].result()


class Renderer:
    """A context: when it is left, nothing of it runs any more."""

    def __init__(self, connection: pg.Connection, folder: Path, signing_key_path: Path) -> None:
        """`folder` is empty, and nobody else's."""
        self._reader = Reader(connection)
        self._folder = folder
        self._signing_key_path = signing_key_path
        self._is_left = False
        self._ahead = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what runs, at the next few megabytes."""
        self._is_left = True
        self._ahead.shutdown(cancel_futures=True)

    def render(self, chunks: Iterable[Sequence[Delivery]]) -> Generator[tuple[Sequence[Delivery], Rendered]]:
        """What is due of each chunk, and its files, which are there until the next one is asked for."""
        before: tuple[Sequence[Delivery], Future[Rendered]] | None = None
        for due in chunks:
            coming = self._ahead.submit(self._rendered, due, self._reader.stretches(due[0].planned))
            if before:
                yield from self._handed_out(*before)
            before = due, coming
        if before:
            yield from self._handed_out(*before)

    def _handed_out(
        self, due: Sequence[Delivery], coming: Future[Rendered]
    ) -> Generator[tuple[Sequence[Delivery], Rendered]]:
        try:
            yield due, coming.result()
        finally:
            shutil.rmtree(self._folder / str(due[0].planned.export_id))

    def _rendered(self, due: Sequence[Delivery], stretches: Stretches) -> Rendered:
        (folder := self._folder / str(due[0].planned.export_id)).mkdir()
        pipes = {Name.of(delivery): Pipe() for delivery in due}
        files: dict[Name, Future[Encoded]] = {}
        with ThreadPoolExecutor(len(pipes)) as executor:
            try:
                for delivery in due:
                    if (name := Name.of(delivery)) not in files:
                        target = folder / f"{len(files)}.{FORMATS[delivery.format].extension}"
                        source = Source(pipes[name], stretches.row_bytes, name.schema_version)
                        files[name] = executor.submit(self._made, delivery, pipes[name], source, target)
                self._fill(pipes, due[0], stretches)
            finally:  # whatever happens here, nobody waits for more
                for pipe in pipes.values():
                    pipe.end()
        return Rendered(files)

    def _fill(self, pipes: dict[Name, Pipe], delivery: Delivery, stretches: Stretches) -> None:
        planned, rows = delivery.planned, 0
        version = max(name.schema_version for name in pipes)
        try:
            for frame in self._reader.frames(planned, stretches.edges, schema_version=version):
                rows += frame.height
                wanted = [pipe.put(frame) for pipe in pipes.values()]
                if self._is_left or not any(wanted):
                    return
            if rows != planned.rows:
                message = f"{delivery.key} would be made of {rows} rows where the loads counted {planned.rows}"
                raise DeliveryError(message, hint="events were removed from the database; nothing was delivered")
        except EvothesisError as error:
            for pipe in pipes.values():
                pipe.end(error)

    def _made(self, delivery: Delivery, pipe: Pipe, source: Source, target: Path) -> Encoded:
        try:
            key = hash_key(signing_key(self._signing_key_path)) if delivery.selection.columns_hashed else b""
            return encode(source, target, delivery.format, delivery.selection, key)
        except (OSError, PolarsError) as error:
            if pipe.error:  # as polars tells it
                raise pipe.error from error
            message = f"cannot make {delivery.key} in {self._folder}: {error}"
            raise DeliveryError(
                message, hint="is the disk full? TMPDIR names another place for unfinished files"
            ) from error
        finally:
            pipe.end()

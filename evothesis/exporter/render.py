"""Render: a planned chunk in, its file in a format out, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from polars.exceptions import PolarsError

from evothesis import pg
from evothesis.errors import DeliveryError
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.encode import FORMATS, Encoded, Source, encode
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.manifest import hash_key, signing_key
from evothesis.exporter.read import read


class Renderer:
    """Keeps what was made of the last chunk: it is read once, and destinations that want the same get the same file."""

    def __init__(self, connection: pg.Connection, folder: Path, signing_key_path: Path) -> None:
        """`folder` is empty, and nobody else's."""
        self._connection = connection
        self._folder = folder
        self._signing_key_path = signing_key_path
        self._export_id: int | None = None
        self._rows: dict[int, Source] = {}  # by schema version
        self._files: dict[tuple[str, int], Encoded] = {}  # by key, which tells chunk, format and selection

    def render(self, delivery: Delivery) -> Encoded:
        """The file of a delivery; with the columns of the first time, where it was rendered before.

        Raises DeliveryError when rows are missing, or when the disk is full.
        """
        if delivery.planned.export_id != self._export_id:
            self.clear()
            self._export_id = delivery.planned.export_id
        version = delivery.schema_version if delivery.sha256 else SCHEMA_VERSION
        try:
            if (delivery.key, version) not in self._files:
                self._files[delivery.key, version] = self._encoded(delivery, version)
        except (OSError, PolarsError) as error:
            message = f"cannot make {delivery.key} in {self._folder}: {error}"
            raise DeliveryError(
                message, hint="is the disk full? TMPDIR names another place for unfinished files"
            ) from error
        return self._files[delivery.key, version]

    def clear(self) -> None:
        """Remove every file."""
        for path in self._folder.iterdir():
            path.unlink()
        self._rows.clear()
        self._files.clear()

    def _encoded(self, delivery: Delivery, version: int) -> Encoded:
        planned = delivery.planned
        if version not in self._rows:
            path = self._folder / f"rows.{version}.csv"
            self._rows[version] = Source(path, read(self._connection, planned, path, schema_version=version), version)
        rows = self._rows[version]
        if rows.row_count != planned.rows:
            message = f"{delivery.key} would be made of {rows.row_count} rows where the loads counted {planned.rows}"
            raise DeliveryError(message, hint="events were removed from the database; nothing was delivered")
        target = self._folder / f"{len(self._files)}.{FORMATS[delivery.format].extension}"
        key = hash_key(signing_key(self._signing_key_path)) if delivery.selection.columns_hashed else b""
        return encode(rows, target, delivery.format, delivery.selection, key)

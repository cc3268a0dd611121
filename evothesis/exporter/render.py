"""Render: a planned chunk in, its file in a format out, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from polars.exceptions import PolarsError

from evothesis import pg
from evothesis.errors import DeliveryError
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.encode import FORMATS, Encoded, encode
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.read import Planned, read


class Renderer:
    """Keeps what was made of the last chunk: all destinations get the same files, all formats have the same rows."""

    def __init__(self, connection: pg.Connection, folder: Path) -> None:
        """`folder` is empty, and nobody else's."""
        self._connection = connection
        self._folder = folder
        self._export_id: int | None = None
        self._rows: dict[int, Path] = {}  # by schema version
        self._files: dict[tuple[str, int], Encoded] = {}

    def render(self, delivery: Delivery) -> Encoded:
        """The file of a delivery; with the columns of the first time, where it was rendered before.

        Raises DeliveryError when rows are missing, or when the disk is full.
        """
        planned = delivery.planned
        if planned.export_id != self._export_id:
            self.clear()
            self._export_id = planned.export_id
        version = delivery.schema_version if delivery.sha256 else SCHEMA_VERSION
        try:
            if (delivery.format, version) not in self._files:
                self._files[delivery.format, version] = self._encoded(planned, delivery.format, version)
        except (OSError, PolarsError) as error:
            message = f"cannot make {delivery.key} in {self._folder}: {error}"
            raise DeliveryError(
                message, hint="is the disk full? TMPDIR names another place for unfinished files"
            ) from error
        file = self._files[delivery.format, version]
        if file.rows != planned.rows:
            message = f"{delivery.key} has {file.rows} rows where the loads counted {planned.rows}"
            raise DeliveryError(message, hint="events were removed from the database; nothing was delivered")
        return file

    def clear(self) -> None:
        """Remove every file."""
        for path in self._folder.iterdir():
            path.unlink()
        self._rows.clear()
        self._files.clear()

    def _encoded(self, planned: Planned, form: str, version: int) -> Encoded:
        if version not in self._rows:
            rows = self._folder / f"rows.{version}.csv"
            read(self._connection, planned, rows, schema_version=version)
            self._rows[version] = rows
        target = self._folder / f"{version}.{FORMATS[form].extension}"
        return encode(self._rows[version], target, form, row_count=planned.rows, schema_version=version)

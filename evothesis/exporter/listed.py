"""Listed: what a bucket's manifests say, as far as its readers look at it."""

from __future__ import annotations

import msgspec

from evothesis.exporter.decode import Names
from evothesis.exporter.selection import SITE, Selection


class Range(msgspec.Struct, frozen=True):
    """Consecutive segments of a writer."""

    writer: int
    first: int
    last: int


class File(msgspec.Struct, frozen=True):
    """A file as a manifest lists it."""

    key: str
    format: str
    rows: int
    bytes: int
    sha256: str
    loads: tuple[Range, ...]
    schema_version: int
    selection: Selection = Selection()

    @property
    def counted_by(self) -> Names:
        """The columns that rows and bots are counted by."""
        return Names(self.selection.name(SITE), self.selection.bots(self.schema_version))


class Manifest(msgspec.Struct, frozen=True):
    """A manifest as far as it is looked at."""

    sequence: int
    previous_sha256: str | None
    instance: str
    public_key: str
    rows: int
    rows_by_site: dict[str, int]
    loads: tuple[Range, ...]
    files: tuple[File, ...]


class Latest(msgspec.Struct, frozen=True):
    """latest.json as far as it is looked at."""

    manifest: int
    sha256: str
    totals: dict[str, int]

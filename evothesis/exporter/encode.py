"""Encode: frames of rows in, the client's file and what it holds out. Pure but for the file.

The same rows give the same bytes: a gzip header names neither a file nor a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import polars as pl
from polars.io.plugins import register_io_source

from evothesis.errors import DeliveryError
from evothesis.exporter.columns import TEXTS, TYPES, Column, Kind
from evothesis.exporter.decode import MARK, Names, count, sha256_of
from evothesis.exporter.selection import SITE, Selection

ROW_GROUP_ROWS_MAX = 25_000  # query engines read groups side by side, and skip them by their statistics
ROW_GROUP_BYTES = 2**25  # of rows as text: a few groups are in memory at once, however large an event is
TEXT_BYTES = 2**22  # of which lines are made at once: each step on the way to a line is a copy
ZSTD_LEVEL = 3
GZIP_LEVEL = 6

ISO_8601 = "%Y-%m-%dT%H:%M:%S%.6fZ"

# A spreadsheet takes a text that begins so for a formula, quoted or not (OWASP ASVS 5.0, 1.2.10). What begins with the
# mark is marked too, so that taking one mark away gives every text back.
MARKED = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" + MARK  # the last four: full width
NEUTRALISED = {"mark": MARK, "before": MARKED}


class Encoded(NamedTuple):
    """A file, ready to be delivered."""

    path: Path
    schema_version: int
    size_bytes: int
    sha256: bytes
    rows_by_site: dict[str, int]

    @property
    def rows(self) -> int:
        """How many rows were found in the file."""
        return sum(self.rows_by_site.values())


class Source(NamedTuple):
    """Rows as `read` hands them out, and how large one is, about."""

    frames: Iterable[pl.DataFrame]
    row_bytes: int
    schema_version: int


class _Rows:
    """What a format is made of."""

    def __init__(self, source: Source, selection: Selection, hash_key: bytes) -> None:
        self._source = source
        self._selection = selection
        self._hash_key = hash_key
        self.columns = selection.delivered(source.schema_version)
        self.row_bytes = source.row_bytes
        self.selected = 0  # rows so far

    def of(self, *kinds: Kind) -> list[str]:
        """The names of the delivered columns of these kinds."""
        return [column.name for column in self.columns if column.kind in kinds]

    def frames(self) -> Iterator[pl.DataFrame]:
        """What is selected, some megabytes at a time."""
        for frame in self._source.frames:
            rows = self._selection.rows_of(frame)
            self.selected += rows.height
            yield self._selection.columns_of(rows, self._source.schema_version, self._hash_key)

    def slices(self) -> Iterator[pl.DataFrame]:
        """The same, few enough for lines to be made of them."""
        for frame in self.frames():
            yield from frame.iter_slices(max(1, TEXT_BYTES // self.row_bytes))


def encode(source: Source, target: Path, form: str, selection: Selection, hash_key: bytes = b"") -> Encoded:
    """Write a file in one of FORMATS, and count what can be read from it. Raises DeliveryError if it is not the same.

    `hash_key` is what columns are hashed with that a selection wants hashed.
    """
    rows = _Rows(source, selection, hash_key)
    FORMATS[form].write(rows, target)
    encoded = Encoded(
        path=target,
        schema_version=source.schema_version,
        size_bytes=target.stat().st_size,
        sha256=sha256_of(target),
        rows_by_site=count(target, form, Names(selection.name(SITE), None)).rows,
    )
    if encoded.rows != rows.selected:
        message = f"{target.name} has {encoded.rows} rows, {rows.selected} were written"
        raise DeliveryError(message, hint="nothing was delivered; is the disk sound?")
    return encoded


def _parquet(rows: _Rows, target: Path) -> None:
    """Zstd Parquet: microseconds in UTC, `raw_event_data` as a JSON string."""
    group_rows = max(1, min(ROW_GROUP_ROWS_MAX, ROW_GROUP_BYTES // rows.row_bytes))
    schema = {column.name: TYPES[column.kind] for column in rows.columns}
    frame = register_io_source(lambda *_: rows.frames(), schema=schema)
    frame.sink_parquet(target, compression="zstd", compression_level=ZSTD_LEVEL, row_group_size=group_rows)


def _csv(rows: _Rows, target: Path) -> None:
    """RFC 4180 in UTF-8; nothing is null, "" is an empty text; texts that a spreadsheet would run are marked."""
    texts = pl.col(rows.of(*TEXTS)).str.replace(f"^[{re.escape(MARKED)}]", MARK + "${0}")
    with _gzip(target) as file:
        for number, frame in enumerate(rows.slices()):
            lines = frame.with_columns(texts, _iso_8601(rows))
            file.write(lines.write_csv(include_header=number == 0, line_terminator="\r\n").encode())


def _ndjson(rows: _Rows, target: Path) -> None:
    """One object a line; JSON stays the text that the database gave, so that its numbers stay what they are."""
    members = [part for is_json, group in groupby(rows.columns, _is_json) for part in _members(is_json, group)]
    line = pl.concat_str([pl.lit("{"), pl.concat_str(members, separator=","), pl.lit("}")])
    with _gzip(target) as file:
        for frame in rows.slices():
            lines = frame.with_columns(_iso_8601(rows)).select(line)
            file.write(lines.write_csv(include_header=False, quote_style="never").encode())


def _is_json(column: Column) -> bool:
    return column.kind is Kind.JSON


def _members(is_json: bool, group: Iterable[Column]) -> list[pl.Expr]:  # noqa: FBT001 - groupby's key
    """The texts of some members of an object."""
    names = [column.name for column in group]
    if is_json:
        return [pl.lit(f'"{name}":') + pl.col(name) for name in names]
    return [pl.struct(names).struct.json_encode().str.strip_prefix("{").str.strip_suffix("}")]


def _iso_8601(rows: _Rows) -> pl.Expr:
    return pl.col(rows.of(Kind.TIMESTAMP)).dt.strftime(ISO_8601)


@contextmanager
def _gzip(target: Path) -> Iterator[GzipFile]:
    with target.open("wb") as raw, GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as file:
        yield file


class Format(NamedTuple):
    """How a format is written, and what its files are named."""

    extension: str
    write: Callable[[_Rows, Path], None]


FORMATS = {
    "parquet": Format("parquet", _parquet),
    "csv": Format("csv.gz", _csv),
    "ndjson": Format("ndjson.gz", _ndjson),
}

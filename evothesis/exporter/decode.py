"""Decode: a delivered file in, its digest and its rows by site out. Memory does not grow with the file."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from evothesis.errors import DeliveryError
from evothesis.exporter.blocks import blocks

MARK = "'"  # stands in CSV before a text that a spreadsheet would take for a formula


def rows_by_site(path: Path, form: str) -> dict[str, int]:
    """Read a file to its end; raises DeliveryError when that is not possible."""
    counted: Counter[str] = Counter()
    try:
        for frame in _READERS[form](path):
            counts = frame.lazy().group_by("site_id").len().collect(engine="streaming")
            counted.update(dict(counts.iter_rows()))
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:  # OSError: gzip's too
        message = f"{path.name} cannot be read as {form}: {error}"
        raise DeliveryError(message, hint="the file is damaged, or is another one") from error
    return dict(sorted(counted.items()))


def sha256_of(path: Path) -> bytes:
    """The digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _parquet(path: Path) -> Iterator[pl.LazyFrame]:
    yield pl.scan_parquet(path)


def _csv(path: Path) -> Iterator[pl.DataFrame]:
    header = b""
    with gzip.open(path) as file:
        for block in blocks(file, has_quotes=True):
            texts = pl.read_csv(header + block, columns=["site_id"], infer_schema=False)
            yield texts.with_columns(pl.col("site_id").str.strip_prefix(MARK))
            header = header or block[: block.index(b"\n") + 1]


def _ndjson(path: Path) -> Iterator[pl.DataFrame]:
    with gzip.open(path) as file:
        for block in blocks(file, has_quotes=False):
            yield pl.read_ndjson(block, schema={"site_id": pl.String})


_READERS: dict[str, Callable[[Path], Iterator[pl.DataFrame | pl.LazyFrame]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}

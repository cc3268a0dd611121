"""Decode: a delivered file in, its digest, its rows and its bots by site out. Memory does not grow with the file."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from evothesis.errors import DeliveryError
from evothesis.exporter.blocks import blocks

MARK = "'"  # stands in CSV before a text that a spreadsheet would take for a formula


class Names(NamedTuple):
    """What the columns are called that are counted by; a file may have none that tells bots from people."""

    site: str
    bot: str | None


class Counted(NamedTuple):
    """Of each site, the rows of a file, and how many of them are bots; None: the file does not tell."""

    rows: dict[str, int]
    bots: dict[str, int] | None


def count(path: Path, form: str, names: Names) -> Counted:
    """Read a file to its end; raises DeliveryError when that is not possible."""
    rows: Counter[str] = Counter()
    bots: Counter[str] = Counter()
    is_bot = pl.col(names.bot) if names.bot else pl.lit(value=False)
    try:
        for frame in _READERS[form](path, names):
            counts = frame.lazy().group_by(names.site).agg(pl.len().alias("rows"), is_bot.sum().alias("bots"))
            for site, found, robotic in counts.collect(engine="streaming").iter_rows():
                rows[site] += found
                bots[site] += robotic
    # OSError: gzip's too; RecursionError: of JSON that nobody of us wrote
    except (pl.exceptions.PolarsError, msgspec.MsgspecError, RecursionError, OSError, EOFError) as error:
        message = f"{path.name} cannot be read as {form}: {error}"
        raise DeliveryError(message, hint="the file is damaged, or is another one") from error
    return Counted(dict(sorted(rows.items())), dict(bots) if names.bot else None)


def sha256_of(path: Path) -> bytes:
    """The digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _parquet(path: Path, _names: Names) -> Iterator[pl.LazyFrame]:
    yield pl.scan_parquet(path)


def _csv(path: Path, names: Names) -> Iterator[pl.DataFrame]:
    header = b""
    with gzip.open(path) as file:
        for block in blocks(file, has_quotes=True):
            texts = pl.read_csv(header + block, columns=[name for name in names if name], infer_schema=False)
            site = pl.col(names.site).str.strip_prefix(MARK)
            yield texts.with_columns(site, *([pl.col(names.bot) == "true"] if names.bot else []))
            header = header or block[: block.index(b"\n") + 1]


def _ndjson(path: Path, names: Names) -> Iterator[pl.DataFrame]:
    """Not by polars: for it 1e308, which PostgreSQL writes out in 309 digits, is no number."""
    wanted: dict[str, type] = {names.site: str} | ({names.bot: bool} if names.bot else {})
    members = [(f"member_{number}", kind) for number, kind in enumerate(wanted.values())]
    renamed = {member: name for (member, _), name in zip(members, wanted, strict=True)}
    rows = msgspec.json.Decoder(msgspec.defstruct("Row", members, rename=renamed, gc=False))
    with gzip.open(path) as file:
        for block in blocks(file, has_quotes=False):
            found = [msgspec.structs.astuple(row) for row in rows.decode_lines(block)]
            yield pl.DataFrame(found, schema=wanted, orient="row")


_READERS: dict[str, Callable[[Path, Names], Iterator[pl.DataFrame | pl.LazyFrame]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}

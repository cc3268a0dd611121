"""Blocks: a file of rows in, pieces of it that hold whole rows out, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

BLOCK_BYTES = 2**23


class Source(Protocol):
    """Something to read from: a file, or what a gzip file holds."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""


def blocks(source: Source, *, has_quotes: bool, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time; with quotes, as in CSV, a line end between two of them ends no row."""
    rest = b""
    while piece := source.read(block_bytes):
        rest += piece
        if end := _end_of_rows(rest) if has_quotes else rest.rfind(b"\n") + 1:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _end_of_rows(text: bytes) -> int:
    """Where the last whole row ends: in front of it stands an even number of quotes."""
    end = text.rfind(b"\n") + 1
    quotes = text.count(b'"', 0, end)
    while quotes % 2:
        before = text.rfind(b"\n", 0, end - 1) + 1
        quotes -= text.count(b'"', before, end)
        end = before
    return end

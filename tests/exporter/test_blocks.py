"""Blocks: however a file of rows is cut, each piece holds whole rows, and together they are the file."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from evothesis.exporter.blocks import blocks

ROWS = st.lists(st.lists(st.text('a",\n\r;', max_size=6), min_size=2, max_size=3), max_size=12)
SIZES = st.integers(1, 40)


@given(ROWS, SIZES)
def test_csv(rows: list[list[str]], block_bytes: int) -> None:
    """A row of CSV is never cut, though line ends and quotes stand in its texts."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    data = text.getvalue().encode()
    found = list(blocks(io.BytesIO(data), has_quotes=True, block_bytes=block_bytes))

    assert data == b"".join(found)
    assert rows == [row for part in found for row in csv.reader(io.StringIO(part.decode(), newline=""), strict=True)]


@given(st.lists(st.text('a"\\', max_size=9)), SIZES)
def test_lines(lines: list[str], block_bytes: int) -> None:
    """A line is never cut, and quotes mean nothing; the last one may lack its end."""
    data = "\n".join(lines).encode()
    found = list(blocks(io.BytesIO(data), has_quotes=False, block_bytes=block_bytes))

    assert data == b"".join(found)
    assert all(part.endswith(b"\n") for part in found[:-1])

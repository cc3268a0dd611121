"""Read: a chunk comes out of the database whole and in one order, however its time is cut."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.errors import UnreachableError
from evothesis.exporter import ledger
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.plan import chunks
from evothesis.exporter.read import Load, Planned, Reader, stretches
from tests.exporter.conftest import Exporting
from tests.exporter.seam import COLUMNS, HOUR, events, in_order
from tests.faults.proxy import BEFORE, Proxy

LOADS = st.lists(
    st.builds(Load, st.integers(0, 3_000).map(lambda n: HOUR + timedelta(seconds=n)), *[st.integers(1, 9)] * 2)
)
ORDER = ("created_at", "writer", "segment_no", "idx")


def planned(*, rows: int = 0, last: datetime = HOUR + timedelta(hours=1)) -> Planned:
    """A chunk of an hour."""
    return Planned(1, "x", HOUR, HOUR, last, rows)


@given(LOADS)
def test_stretches(loads: list[Load]) -> None:
    """Stretches abut, cover the chunk's time, and end where enough loads have begun."""
    loads.sort()
    edges, _ = stretches(planned(), loads, rows=20, size_bytes=30)

    assert (HOUR, HOUR + timedelta(hours=1, microseconds=1)) == (edges[0][0], edges[-1][1])
    assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert all(begin < end for begin, end in edges)
    for begin, end in edges[:-1]:
        inside = [load for load in loads if begin <= load.first_received_at <= end]
        assert sum(load.rows for load in inside) >= 20 or sum(load.bytes for load in inside) >= 30


def stored(exporting: Exporting) -> Planned:
    """A planned chunk of two writers, whose loads were received at the same time."""
    for segment_no in range(6):
        for writer in (2, 1):
            rows = events(40, seed=10 * segment_no + writer)
            exporting.database.load(rows, writer=writer, segment_no=segment_no, second=5 * segment_no)
    with exporting.connected() as (_, connection):
        (chunk,) = chunks(ledger.unplanned(connection), rows_max=1_000)
        ledger.plan(connection, [chunk], instance="x")
        return Planned(1, chunk.key("x"), chunk.hour, chunk.first_received_at, chunk.last_received_at, chunk.rows)


def test_cut(exporting: Exporting) -> None:
    """In pieces or at once: the same rows, with the types of the files, by time and then by identity."""
    chunk = stored(exporting)
    loads = [Load(HOUR + timedelta(seconds=5 * number), 80, 1) for number in range(6)]
    with exporting.connected() as (_, connection):
        reader = Reader(connection)
        whole, cut = (
            list(reader.frames(chunk, stretches(chunk, loads, rows=rows).edges, schema_version=SCHEMA_VERSION))
            for rows in (1_000, 100)
        )

    assert (1, 3) == (len(whole), len(cut))
    assert whole[0].equals(pl.concat(cut))
    assert pl.Schema(COLUMNS) == whole[0].schema
    assert [tuple(row[name] for name in ORDER) for row in whole[0].iter_rows(named=True)] == sorted(
        tuple(row[name] for name in ORDER) for row in in_order(exporting.database.expected)
    )


def test_database_gone(exporting: Exporting) -> None:
    """A database that hangs up in the middle is worth another try."""
    chunk = stored(exporting)
    proxy = Proxy(exporting.appliance.dsn)
    try:
        exporting.appliance.settings["database"]["url"] = proxy.dsn
        exporting.deliver_to()
        with exporting.connected() as (_, connection):
            reader = Reader(connection)
            edges = reader.stretches(chunk).edges
            proxy.cut(lambda _number, word: BEFORE if b"COPY" in word else "")
            with pytest.raises(UnreachableError, match="cannot read events from PostgreSQL"):
                list(reader.frames(chunk, edges, schema_version=SCHEMA_VERSION))
    finally:
        proxy.close()

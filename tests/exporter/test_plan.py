"""Plan: loads in, chunks of whole loads of one hour out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evothesis.exporter.plan import Chunk, Load, Range, chunks

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
TEN = NINE + timedelta(hours=1)


def load(writer: int, segment_no: int, hour: datetime = NINE, accepted: int = 10) -> Load:
    """A load whose first event came at the second of its number, and its last one half a second later."""
    first = hour + timedelta(seconds=segment_no)
    return Load(writer, segment_no, hour, accepted, first, first + timedelta(seconds=0.5))


def parts(planned: list[Chunk]) -> list[tuple[datetime, tuple[Range, ...], int]]:
    """Hour, ranges and rows of each chunk."""
    return [(chunk.hour, chunk.ranges, chunk.rows) for chunk in planned]


def test_nothing() -> None:
    """Without a load there is no chunk."""
    assert [] == chunks([], rows_max=100)


def test_consecutive_loads() -> None:
    """Consecutive loads of one writer are one range of one chunk."""
    planned = chunks([load(1, 5), load(1, 6), load(1, 7)], rows_max=100)

    assert [(NINE, ((1, 5, 7),), 30)] == parts(planned)


def test_writers() -> None:
    """Each writer has a range of its own in the chunk of an hour."""
    planned = chunks([load(1, 5), load(1, 6), load(2, 6), load(2, 7)], rows_max=100)

    assert [(NINE, ((1, 5, 6), (2, 6, 7)), 40)] == parts(planned)


def test_hours() -> None:
    """A chunk has loads of one hour; the earlier hour comes first."""
    planned = chunks([load(1, 5), load(1, 6, TEN), load(2, 1), load(2, 2, TEN)], rows_max=100)

    assert [(NINE, ((1, 5, 5), (2, 1, 1)), 20), (TEN, ((1, 6, 6), (2, 2, 2)), 20)] == parts(planned)


def test_gap() -> None:
    """Loads that do not follow each other are two ranges."""
    planned = chunks([load(1, 5), load(1, 7)], rows_max=100)

    assert [(NINE, ((1, 5, 5), (1, 7, 7)), 20)] == parts(planned)


def test_rows_max() -> None:
    """A chunk is full before it would have more rows than it may."""
    planned = chunks([load(1, number) for number in range(5)], rows_max=20)

    assert [(NINE, ((1, 0, 1),), 20), (NINE, ((1, 2, 3),), 20), (NINE, ((1, 4, 4),), 10)] == parts(planned)


def test_time() -> None:
    """Chunks of an hour follow each other in time, whoever wrote their loads."""
    planned = chunks([load(writer, number) for writer in (1, 2) for number in range(4)], rows_max=40)

    assert [(NINE, ((1, 0, 1), (2, 0, 1)), 40), (NINE, ((1, 2, 3), (2, 2, 3)), 40)] == parts(planned)


def test_clock_set_back() -> None:
    """A later segment with an earlier time is in the earlier chunk; its writer has more ranges, and none is missing."""
    loads = [load(1, 0), load(1, 1), load(1, 2)]
    loads[1] = loads[1]._replace(first_received_at=NINE + timedelta(seconds=9))

    assert [(NINE, ((1, 0, 0), (1, 2, 2)), 20), (NINE, ((1, 1, 1),), 10)] == parts(chunks(loads, rows_max=20))


def test_large_load() -> None:
    """A load is never split: alone it may be larger than a chunk."""
    planned = chunks([load(1, 0), load(1, 1, accepted=50), load(1, 2)], rows_max=20)

    assert [(NINE, ((1, 0, 0),), 10), (NINE, ((1, 1, 1),), 50), (NINE, ((1, 2, 2),), 10)] == parts(planned)


def test_empty_loads() -> None:
    """Loads without a stored event are part of a chunk, so that no number is missing."""
    planned = chunks([load(1, 0, accepted=0), load(1, 1), load(1, 2, TEN, accepted=0)], rows_max=20)

    assert [(NINE, ((1, 0, 1),), 10), (TEN, ((1, 2, 2),), 0)] == parts(planned)


def test_moments() -> None:
    """A chunk knows when its first and its last event came."""
    (chunk,) = chunks([load(1, 30), load(2, 4), load(2, 5)], rows_max=100)

    assert (NINE + timedelta(seconds=4), NINE + timedelta(seconds=30.5)) == (
        chunk.first_received_at,
        chunk.last_received_at,
    )


def test_key() -> None:
    """A key is a function of instance, hour and loads, and of nothing else."""
    (chunk,) = chunks([load(1, 5), load(1, 6)], rows_max=100)
    (same,) = chunks([load(1, 5, accepted=1), load(1, 6, accepted=2)], rows_max=100)
    others = [chunks([load(*numbers)], rows_max=100)[0].key("acme") for numbers in ((1, 5), (1, 6), (2, 5))]

    assert chunk.key("acme") == same.key("acme")
    assert chunk.key("acme").startswith("acme-2026112209-")
    assert 6 == len({chunk.key("acme"), chunk.key("other"), chunk._replace(hour=TEN).key("acme"), *others})


@settings(database=None, print_blob=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 30)), max_size=40),
    st.integers(1, 50),
)
def test_every_load_once(drawn: list[tuple[int, int, int]], rows_max: int) -> None:
    """Whatever the loads are, each is in one range of one chunk, and a chunk of many is within the limit."""
    counts: dict[int, int] = {}
    loads = []
    for writer, later, accepted in sorted(drawn, key=lambda load: load[0]):
        counts[writer] = counts.get(writer, -1) + 1
        loads.append(load(writer, counts[writer], NINE + timedelta(hours=later), accepted))
    planned = chunks(loads, rows_max=rows_max)

    covered = [
        (chunk.hour, writer, number)
        for chunk in planned
        for writer, first, last in chunk.ranges
        for number in range(first, last + 1)
    ]
    assert sorted((load.hour, load.writer, load.segment_no) for load in loads) == sorted(covered)
    assert sum(load.accepted for load in loads) == sum(chunk.rows for chunk in planned)
    large = [chunk for chunk in planned if chunk.rows > rows_max]
    assert [] == [chunk for chunk in large if [(chunk.ranges[0].last_segment_no,)] != [r[2:] for r in chunk.ranges]]
    assert len(planned) == len({chunk.key("acme") for chunk in planned})


@pytest.mark.parametrize("rows_max", [1, 7, 1_000])
def test_same_loads_same_plan(rows_max: int) -> None:
    """A plan that was lost is made again as it was."""
    loads = [load(writer, number, NINE, number) for writer in (1, 2) for number in range(20)]

    assert chunks(loads, rows_max=rows_max) == chunks(iter(loads), rows_max=rows_max)

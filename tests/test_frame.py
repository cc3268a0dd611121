"""Frame: what was written comes back as it was, and what is not sound is named, never more nor less of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.spool.frame import (
    MAGIC,
    MAGIC_OLDER,
    VERSION,
    VERSION_OLDER,
    Damage,
    Frame,
    decode,
    encode,
    has_whole_frame,
    is_newer,
)

SEGMENT_NO = 7
# one of them holds what frames begin with
FRAMES = [Frame(0, 1, b"first"), Frame(1, 3, b"second EVF1 EVF2 \0\xff"), Frame(4, 2, b"third")]
ENCODED = [encode(frame, segment_no=SEGMENT_NO) for frame in FRAMES]
SEGMENT = b"".join(ENCODED)
# frames of the version before differ in their magic alone
OLDER_FRAMES = [frame._replace(version=VERSION_OLDER) for frame in FRAMES]
OLDER = b"".join(MAGIC_OLDER + data[len(MAGIC) :] for data in ENCODED)
VERSIONS = [(FRAMES, SEGMENT), (OLDER_FRAMES, OLDER)]
ENDS = [len(b"".join(ENCODED[: number + 1])) for number in range(len(ENCODED))]

Entries = Sequence[tuple[bytes, int]]
entries = st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 1000)), max_size=8)


def framed(entries: Entries) -> list[Frame]:
    """The frames of a segment that holds these entries from its beginning."""
    firsts = [sum(rows for _, rows in entries[:number]) for number in range(len(entries))]
    return [Frame(first, rows, payload) for first, (payload, rows) in zip(firsts, entries, strict=True)]


@given(entries=entries, segment_no=st.integers(0, 2**64 - 1))
def test_round_trip(entries: Entries, segment_no: int) -> None:
    """Any payloads come out as they went in."""
    frames = framed(entries)
    data = b"".join(encode(frame, segment_no=segment_no) for frame in frames)

    assert frames == list(decode(data, segment_no=segment_no))


@pytest.mark.parametrize(("frames", "segment"), VERSIONS, ids=["this version", "the version before"])
def test_truncations(frames: list[Frame], segment: bytes) -> None:
    """However much is cut off, the frames before the cut are whole, and what is left of the next one is damage."""
    for size_bytes in range(len(segment)):
        whole = sum(end <= size_bytes for end in ENDS)
        end = ENDS[whole - 1] if whole else 0
        rest = [Damage(end, size_bytes - end)] if end < size_bytes else []

        assert [*frames[:whole], *rest] == list(decode(segment[:size_bytes], segment_no=SEGMENT_NO)), size_bytes


@pytest.mark.parametrize(("frames", "segment"), VERSIONS, ids=["this version", "the version before"])
def test_flipped_bits(frames: list[Frame], segment: bytes) -> None:
    """Whichever bit is flipped, its frame is damage, not one of another version, and the others are whole."""
    for bit in range(len(segment) * 8):
        data = bytearray(segment)
        data[bit // 8] ^= 1 << bit % 8
        hit = sum(end <= bit // 8 for end in ENDS)
        damage = Damage(ENDS[hit] - len(ENCODED[hit]), len(ENCODED[hit]))

        assert [*frames[:hit], damage, *frames[hit + 1 :]] == list(decode(bytes(data), segment_no=SEGMENT_NO)), bit
        assert not is_newer(bytes(data)), bit


def test_both_versions() -> None:
    """Frames of both versions may stand in one segment, whole or torn; new ones are of this version."""
    frames = [FRAMES[0], OLDER_FRAMES[1], FRAMES[2]]
    older = OLDER[ENDS[0] : ENDS[1]]

    assert frames == list(decode(ENCODED[0] + older + ENCODED[2], segment_no=SEGMENT_NO))
    assert {VERSION} == {frame.version for frame in FRAMES}
    assert [True, False] == [has_whole_frame(older), has_whole_frame(older[:-1])]


@given(junk=st.lists(st.binary(max_size=60), min_size=4, max_size=4))
def test_junk_between(junk: list[bytes]) -> None:
    """Bytes that are no frame are reported where they stand, and nothing else is."""
    parts = [part for pair in zip(junk, [*ENCODED, b""], strict=True) for part in pair]
    found = list(decode(b"".join(parts), segment_no=SEGMENT_NO))

    assert FRAMES == [part for part in found if isinstance(part, Frame)]
    assert [len(part) for part in junk if part] == [part.size_bytes for part in found if isinstance(part, Damage)]


def test_leftover_of_another_segment() -> None:
    """A whole frame that was written for another segment is damage."""
    leftover = encode(Frame(4, 1, b"old"), segment_no=SEGMENT_NO - 1)

    found = list(decode(ENCODED[0] + leftover + ENCODED[1], segment_no=SEGMENT_NO))

    assert [FRAMES[0], Damage(ENDS[0], len(leftover)), FRAMES[1]] == found


def test_repeated_frame() -> None:
    """A frame whose rows were there already is damage: no row number stands for two events."""
    found = list(decode(SEGMENT + ENCODED[1], segment_no=SEGMENT_NO))

    assert [*FRAMES, Damage(len(SEGMENT), len(ENCODED[1]))] == found

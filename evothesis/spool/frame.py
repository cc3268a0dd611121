"""Frame: payload in, bytes that can tell whether they are whole out.

Magic, payload bytes, CRC-32 of all that follows, segment number, first row, rows, payload; integers little-endian.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

# The last byte of the magic is the version of the format, and of the payload. No single flipped bit makes one of
# another, so that they go 1, 2, 4, 7, 8.
VERSION, VERSION_OLDER = 2, 1
MAGIC, MAGIC_OLDER = b"EVF2", b"EVF1"
MAGICS_NEWER = (b"EVF4", b"EVF7", b"EVF8")  # an operator may go back more than one version
HEADER = struct.Struct("<4sIIQII")
CHECKED_FROM = 12  # the CRC covers what stands behind it; a wrong magic or length is found without it
PAYLOAD_BYTES_MAX = 64 * 2**20  # far above any request; a longer length is damage
_MAGICS = {MAGIC: VERSION, MAGIC_OLDER: VERSION_OLDER}
_MAGIC = re.compile(b"|".join(_MAGICS))


class Frame(NamedTuple):
    """A sound frame: the numbers of its rows in the segment begin at `first_row`."""

    first_row: int
    rows: int
    payload: bytes
    version: int = VERSION


class Damage(NamedTuple):
    """A stretch of a segment that holds no sound frame."""

    offset: int
    size_bytes: int


def encode(frame: Frame, *, segment_no: int) -> bytes:
    """The frame's bytes, in the newest version."""
    unsigned = HEADER.pack(MAGIC, len(frame.payload), 0, segment_no, frame.first_row, frame.rows)
    crc = zlib.crc32(frame.payload, zlib.crc32(unsigned[CHECKED_FROM:]))
    return HEADER.pack(MAGIC, len(frame.payload), crc, segment_no, frame.first_row, frame.rows) + frame.payload


def decode(data: bytes, *, segment_no: int) -> Iterator[Frame | Damage]:
    """All sound frames of a segment in order, and every stretch between them that is not one.

    A frame of another segment, or one whose rows are not new, is a leftover and counts as damage.
    """
    offset = next_row = damaged_from = 0
    while offset < len(data):
        frame = _frame_at(data, offset, segment_no)
        if frame is None or frame.first_row < next_row:
            found = _MAGIC.search(data, offset + 1)
            if found is None:
                break
            offset = found.start()
            continue
        if damaged_from < offset:
            yield Damage(damaged_from, offset - damaged_from)
        yield frame
        next_row = frame.first_row + frame.rows
        offset = damaged_from = offset + HEADER.size + len(frame.payload)
    if damaged_from < len(data):
        yield Damage(damaged_from, len(data) - damaged_from)


def is_newer(data: bytes) -> bool:
    """Whether a segment, or its beginning, is of a version that an operator went back from: it is not damage."""
    return data.startswith(MAGICS_NEWER)


def has_whole_frame(data: bytes) -> bool:
    """Whether a stretch that is not sound has the length that its header promises.

    A write that was cut off is short; a whole frame with a wrong checksum may have been acknowledged once.
    """
    for found in _MAGIC.finditer(data):
        offset = found.start()
        if len(data) - offset >= HEADER.size:
            size = HEADER.unpack_from(data, offset)[1]
            if offset + HEADER.size + size <= len(data):
                return True
    return False


def _frame_at(data: bytes, offset: int, segment_no: int) -> Frame | None:
    if len(data) - offset < HEADER.size:
        return None
    magic, size, crc, number, first_row, rows = HEADER.unpack_from(data, offset)
    end = offset + HEADER.size + size
    version = _MAGICS.get(magic)
    if version is None or number != segment_no or size > PAYLOAD_BYTES_MAX or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[offset + CHECKED_FROM : end]) != crc:
        return None
    return Frame(first_row, rows, data[offset + HEADER.size : end], version)

"""The spool on real files: what was appended comes out once, under one name for ever, whatever is cut or flipped."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evothesis.errors import SpoolFullError
from evothesis.spool.frame import HEADER, MAGIC, MAGIC_OLDER, MAGICS_NEWER, VERSION_OLDER, Damage, Frame, decode
from evothesis.spool.segments import backlog, of_newer_version, sealed
from evothesis.spool.writer import Writer
from tests.test_frame import ENCODED, ENDS, FRAMES


def read(spool: Path) -> dict[tuple[int, int], list[Frame | Damage]]:
    """What the sealed segments of a spool hold, by writer and number."""
    return {
        (segment.writer, segment.segment_no): list(decode(segment.path.read_bytes(), segment_no=segment.segment_no))
        for segment in sealed(spool)
    }


def crash(writer: Writer) -> None:
    """Let go of a writer's files as the kernel does when its process is killed."""
    os.close(writer._descriptor)
    os.close(writer._lock)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where a spool will be."""
    return tmp_path / "spool"


def test_append_and_seal(spool: Path) -> None:
    """Sealed segments hold what was appended, their rows numbered from 0, their numbers consecutive."""
    writer = Writer.claim(spool)
    writer.append([(b"a", 2), (b"b", 3)])
    writer.append([(b"c", 1)])
    writer.seal()
    writer.append([(b"d", 1)])
    writer.close()

    assert {
        (writer.writer, 0): [Frame(0, 2, b"a"), Frame(2, 3, b"b"), Frame(5, 1, b"c")],
        (writer.writer, 1): [Frame(0, 1, b"d")],
    } == read(spool)


def test_nothing_to_seal(spool: Path) -> None:
    """A segment without a frame is not handed over."""
    writer = Writer.claim(spool)
    writer.seal()
    writer.close()

    assert {} == read(spool)


def test_open_segment_counts(spool: Path) -> None:
    """What waits is measured before it is sealed, too."""
    writer = Writer.claim(spool)
    writer.append([(b"x" * 1000, 1)])
    before = backlog(spool).size_bytes
    writer.seal()

    assert 1000 < before == writer_bytes(spool)
    writer.close()


def writer_bytes(spool: Path) -> int:
    """The size of all sealed segments."""
    return sum(segment.size_bytes for segment in sealed(spool))


def test_gone_meanwhile(spool: Path) -> None:
    """A segment that is gone when its file is looked at, as one that another process moved, is left out."""
    writer = Writer.claim(spool)
    writer.append([(b"a", 1)])
    writer.close()
    (writer.folder / "000000000007.sealed").symlink_to("nowhere")

    assert [0] == [segment.segment_no for segment in sealed(spool)]


def test_two_writers(spool: Path) -> None:
    """Two writers never share a folder, and one that ended leaves its folder to the next."""
    first, second = Writer.claim(spool), Writer.claim(spool)
    first.close()
    third = Writer.claim(spool)

    assert first.folder != second.folder
    assert first.folder == third.folder
    second.close()
    third.close()


def test_crash_hands_over(spool: Path) -> None:
    """What crashed writers had appended is sealed by the next one, in every folder that nobody has."""
    writers = [Writer.claim(spool) for _ in range(3)]
    for number, writer in enumerate(writers):
        writer.append([(b"%d" % number, 1)])
    crash(writers[0])
    crash(writers[1])
    Writer.claim(spool).close()

    assert {(writer.writer, 0): [Frame(0, 1, b"%d" % n)] for n, writer in enumerate(writers[:2])} == read(spool)
    writers[2].close()


@pytest.mark.parametrize("size_bytes", [0, 1, HEADER.size - 1, HEADER.size, len(ENCODED[1]) - 1, len(ENCODED[1])])
def test_torn_end(spool: Path, size_bytes: int) -> None:
    """However little of the last write reached the file, what was written before it is recovered without damage."""
    writer = Writer.claim(spool)
    writer.append([(FRAMES[0].payload, 1)])
    whole_bytes = writer.segment_bytes
    writer.append([(FRAMES[1].payload, 3)])
    crash(writer)
    os.truncate(next(writer.folder.glob("*.open")), whole_bytes + size_bytes)
    Writer.claim(spool).close()

    is_whole = size_bytes == len(ENCODED[1])
    assert {(writer.writer, 0): FRAMES[: 1 + is_whole]} == read(spool)


def test_damage_in_open_segment(spool: Path) -> None:
    """A flipped bit in front of sound frames is kept, for the loader to report."""
    writer = Writer.claim(spool)
    writer.append([(frame.payload, frame.rows) for frame in FRAMES])
    crash(writer)
    path = next(writer.folder.glob("*.open"))
    data = bytearray(path.read_bytes())
    data[ENDS[0] + 1] ^= 1
    path.write_bytes(data)
    Writer.claim(spool).close()

    damage = Damage(ENDS[0], len(ENCODED[1]))
    assert {(writer.writer, 0): [FRAMES[0], damage, FRAMES[2]]} == read(spool)


def test_damage_at_the_end_of_an_open_segment(spool: Path) -> None:
    """A last frame that is whole and not sound may have been acknowledged: it is handed over, not cut off."""
    writer = Writer.claim(spool)
    writer.append([(frame.payload, frame.rows) for frame in FRAMES])
    crash(writer)
    path = next(writer.folder.glob("*.open"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    Writer.claim(spool).close()

    assert {(writer.writer, 0): [*FRAMES[:2], Damage(ENDS[1], len(ENCODED[2]))]} == read(spool)


def test_older_version(spool: Path) -> None:
    """What the version before left open is sealed as it is; the folder goes on with the next number."""
    writer = Writer.claim(spool)
    writer.append([(b"a", 1)])
    crash(writer)
    path = next(writer.folder.glob("*.open"))
    data = MAGIC_OLDER + path.read_bytes()[len(MAGIC) :]
    path.write_bytes(data)
    after = Writer.claim(spool)
    after.append([(b"b", 1)])
    after.close()

    frames = {0: [Frame(0, 1, b"a", VERSION_OLDER)], 1: [Frame(0, 1, b"b")]}
    assert {(writer.writer, number): found for number, found in frames.items()} == read(spool)


@pytest.mark.parametrize("suffix", ["open", "sealed"])
def test_newer_version(spool: Path, suffix: str) -> None:
    """What a newer version left is no torn end: it stays as it is, and another folder is written, which is loaded."""
    writer = Writer.claim(spool)
    writer.append([(b"a", 1)])
    if suffix == "sealed":
        writer.seal()
    crash(writer)
    path = next(path for path in writer.folder.glob(f"*.{suffix}") if path.stat().st_size)
    data = MAGICS_NEWER[0] + path.read_bytes()[len(MAGIC) :]
    path.write_bytes(data)
    after = Writer.claim(spool)
    after.close()

    assert writer.folder != after.folder
    assert data == path.read_bytes()
    assert [path] == [segment.path for segment in of_newer_version(spool)]


def test_emptied_folder(spool: Path) -> None:
    """A folder that lost its files is not written again: its numbers would come back with other events."""
    writer = Writer.claim(spool)
    writer.append([(b"a", 1)])
    writer.close()
    for path in [*writer.folder.glob("*.open"), *writer.folder.glob("*.sealed")]:
        path.unlink()
    after = Writer.claim(spool)
    after.close()

    assert writer.writer != after.writer


@given(steps=st.lists(st.sampled_from(["append", "seal", "crash", "close", "load"]), max_size=30))
def test_names_stay(steps: list[str]) -> None:
    """Over any row of crashes every payload comes out once, in its order, and no name is used for other bytes."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder)
        writer = Writer.claim(spool)
        seen: dict[tuple[int, int], list[Frame | Damage]] = {}
        appended = 0
        for step in [*steps, "close"]:
            if step == "append":
                writer.append([(b"%d" % appended, 1)])
                appended += 1
            elif step == "seal":
                writer.seal()
            elif step == "load":
                for segment in sealed(spool):
                    segment.path.unlink()
            else:
                {"crash": crash, "close": Writer.close}[step](writer)
                writer = Writer.claim(spool)
            for name, content in read(spool).items():
                assert seen.setdefault(name, content) == content
        writer.close()

    payloads = [part.payload for name in sorted(seen) for part in seen[name] if isinstance(part, Frame)]
    assert [b"%d" % number for number in range(appended)] == payloads
    assert list(range(len(seen))) == [number for _, number in sorted(seen)]


@contextmanager
def file_bytes_at_most(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to make any file larger (setrlimit(2)); it is for this process what a full disk is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room_bytes", [0, 1, 40, 70, 100])
def test_no_room(spool: Path, room_bytes: int) -> None:
    """What did not fit does not count, and nothing of it is left when there is room again."""
    writer = Writer.claim(spool)
    writer.append([(b"before", 1)])
    with file_bytes_at_most(writer.segment_bytes + room_bytes), pytest.raises(SpoolFullError):
        writer.append([(b"refused", 1), (b"x" * 200, 5)])
    writer.append([(b"after", 2)])
    writer.close()

    assert {(writer.writer, 0): [Frame(0, 1, b"before"), Frame(1, 2, b"after")]} == read(spool)

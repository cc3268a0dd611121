"""Writer: payloads in, frames on disk out; the one process that writes a folder of the spool.

`append` returns only after its frames are on disk. The next number exists as an open file before a segment is sealed,
so that no number is used twice. The operating system is an argument, so that a test can take the power away.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Self

from evothesis.disk import sync_folder
from evothesis.errors import SpoolBrokenError, SpoolError, SpoolFullError
from evothesis.spool.frame import MAGIC, Frame, decode, encode, has_whole_frame, is_newer
from evothesis.spool.segments import OPEN, SEALED

log = logging.getLogger(__name__)

RECOVERED = ".recovered"  # a copy that is not complete yet

# the file system refuses for now; anything else that fails is taken for a broken disk
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG})


class Writer:
    """One open segment and the lock of its folder. Not for several threads at once."""

    def __init__(self, folder: Path, *, lock: int = -1, system: ModuleType = os) -> None:
        """Seal what a crash left open in `folder` and open the next segment. Raises as `append`."""
        self.folder = folder
        self.writer = int(folder.name)
        self._lock = lock
        self._system = system
        self._descriptor = -1
        self._segment_no = -1
        self._offset = 0
        self._next_row = 0
        self._reached = 0  # the end of what was written last, also of what failed
        self._complete: list[int] = []  # numbers whose files are yet to be called sealed
        self._is_broken = False
        try:
            with self._classified():
                self._recover()
        except SpoolError:
            if self._descriptor >= 0:
                with suppress(OSError):
                    system.close(self._descriptor)
            raise

    @classmethod
    def claim(cls, spool: Path, *, system: ModuleType = os) -> Self:
        """Become the writer of a folder that nobody writes, or of a new one; seal what other free folders hold.

        A folder always has an open segment, which carries the next number. One that lost it is not used again, and one
        that cannot be read is left to a person. Raises as `append`, and OSError.
        """
        made_in = [spool, *itertools.takewhile(lambda parent: not parent.exists(), spool.parents)]
        spool.mkdir(parents=True, exist_ok=True, mode=0o770)
        mine: Self | None = None
        try:
            for folder in sorted(entry for entry in spool.iterdir() if entry.name.isdigit()):
                writer = cls._take_found(folder, system) if any(folder.glob(f"*{OPEN}")) else None
                if writer and mine:
                    writer.close()
                mine = mine or writer
            while mine is None:
                # a new number for a new folder: numbers of a lost spool must not come back with other events
                folder = spool / str(secrets.randbits(31))
                folder.mkdir(mode=0o770)  # the loader moves segments, and may be another user of the same group
                mine = cls._take(folder, system)
            # the folders' own names, before anything in them is promised to anybody
            for folder in made_in:
                sync_folder(folder, system)
            with suppress(PermissionError):  # a folder of somebody else, where we made nothing
                sync_folder(made_in[-1].parent, system)
        except (SpoolError, OSError):
            if mine:
                mine.close()
            raise
        return mine

    @classmethod
    def _take_found(cls, folder: Path, system: ModuleType) -> Self | None:
        try:
            return cls._take(folder, system)
        except SpoolBrokenError:
            log.exception("Folder could not be recovered.", extra={"folder": str(folder)})
            return None

    @classmethod
    def _take(cls, folder: Path, system: ModuleType) -> Self | None:
        lock = _lock(folder)
        if lock is None:
            return None
        try:
            return cls(folder, lock=lock, system=system)
        except SpoolError:
            os.close(lock)
            raise

    @property
    def segment_bytes(self) -> int:
        """The size of the open segment."""
        return self._offset

    def append(self, entries: Sequence[tuple[bytes, int]]) -> None:
        """Write each (payload, its rows) as a frame; returns when all are on disk.

        Raises SpoolFullError when there is no room: nothing of `entries` counts, a later call may succeed.
        Raises SpoolBrokenError when the disk failed: this writer must not be used again.
        """
        frames = []
        next_row = self._next_row
        for payload, rows in entries:
            frames.append(encode(Frame(next_row, rows, payload), segment_no=self._segment_no))
            next_row += rows
        data = b"".join(frames)
        with self._classified():
            try:
                # at a fixed offset: what a failed attempt left behind is overwritten
                self._write(self._descriptor, data, self._offset)
            except OSError:
                if self._reached > self._offset:
                    self._take_back()
                raise
            self._sync(self._descriptor)
        self._offset += len(data)
        self._next_row = next_row

    def seal(self) -> None:
        """Hand the open segment to the loader, if it holds anything, and open the next one. Raises as `append`."""
        with self._classified():
            if self._offset:
                number, descriptor = self._segment_no, self._descriptor
                self._open(number + 1)
                self._complete.append(number)
                self._system.close(descriptor)
            while self._complete:
                number = self._complete[0]
                self._system.rename(self._path(number, OPEN), self._path(number, SEALED))
                self._complete.pop(0)

    def close(self) -> None:
        """Seal what is there and let another process have the folder."""
        try:
            with self._classified():
                try:
                    self.seal()
                finally:
                    self._system.close(self._descriptor)
        finally:
            os.close(self._lock)

    def _path(self, segment_no: int, suffix: str) -> str:
        return f"{self.folder}/{segment_no:012d}{suffix}"

    def _open(self, segment_no: int) -> None:
        descriptor = self._system.open(self._path(segment_no, OPEN), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            sync_folder(self.folder, self._system)
        except OSError:
            self._system.close(descriptor)
            raise
        self._descriptor, self._segment_no, self._offset, self._next_row = descriptor, segment_no, 0, 0

    def _take_back(self) -> None:
        """Remove what a failed attempt left behind the end, from the disk too: nobody may find it there later."""
        try:
            self._system.ftruncate(self._descriptor, self._offset)
        except OSError as error:
            message = f"cannot take back a write in {self.folder}: {error.strerror}"
            raise SpoolBrokenError(message, hint="check the disk") from error
        self._sync(self._descriptor)

    def _write(self, descriptor: int, data: bytes, offset: int) -> None:
        view = memoryview(data)
        self._reached = offset
        while view:
            written = self._system.pwrite(descriptor, view, self._reached)
            self._reached += written
            view = view[written:]

    def _sync(self, descriptor: int) -> None:
        try:
            self._system.fdatasync(descriptor)
        except OSError as error:
            # the kernel may have dropped the pages and marked them clean: a second sync of this file would lie
            # (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020)
            message = f"cannot sync a segment in {self.folder}: {error.strerror}"
            raise SpoolBrokenError(message, hint="check the disk") from error

    def _recover(self) -> None:
        names = self._system.listdir(str(self.folder))
        numbers = [int(stem) for stem in (name.partition(".")[0] for name in names) if stem.isdigit()]
        if sealed := [name for name in names if name.endswith(SEALED)]:
            with suppress(FileNotFoundError):  # loaded since
                self._refuse_newer(self._read(f"{self.folder}/{max(sealed)}", len(MAGIC)))
        left_open = sorted(int(name.removesuffix(OPEN)) for name in names if name.endswith(OPEN))
        sound = {number: self._sound_bytes(number) for number in left_open}
        following = max(numbers, default=-1) + 1
        is_unused = bool(left_open) and left_open[-1] == following - 1 and not sound[left_open[-1]]
        self._open(following - 1 if is_unused else following)
        for number, data in sound.items():
            # one that holds nothing is sealed too: numbers have no gap, else the loader waits for it
            if number != self._segment_no:
                self._copy(number, data)

    def _sound_bytes(self, segment_no: int) -> bytes:
        """An open segment up to its last sound frame: behind that nothing was acknowledged.

        What might have been is kept for the loader, which reports it.
        """
        data = self._read(self._path(segment_no, OPEN))
        self._refuse_newer(data)
        parts = list(decode(data, segment_no=segment_no))
        torn = 0 if not parts or isinstance(parts[-1], Frame) else parts[-1].size_bytes
        if torn and has_whole_frame(data[len(data) - torn :]):
            return data
        if torn:
            log.warning("Torn end dropped.", extra={"writer": self.writer, "segment_no": segment_no, "bytes": torn})
        return data[: len(data) - torn]

    def _read(self, path: str, bytes_max: int = sys.maxsize) -> bytes:
        descriptor = self._system.open(path, os.O_RDONLY)
        try:
            data = b""
            while part := self._system.pread(descriptor, min(2**20, bytes_max - len(data)), len(data)):
                data += part
            return data
        finally:
            self._system.close(descriptor)

    def _refuse_newer(self, data: bytes) -> None:
        """Leave a folder alone to which a newer version is to come back: what is written behind would wait for it."""
        if is_newer(data):
            message = f"{self.folder} was written by a newer version"
            raise SpoolBrokenError(message, hint="upgrade evothesis again: the folder waits for it")

    def _copy(self, segment_no: int, data: bytes) -> None:
        """Seal `data` as a new file: of the old one some pages may never have reached the disk.

        The copy is the open segment, durably, before anyone may see it as sealed: a number has one content for ever.
        """
        path = self._path(segment_no, RECOVERED)
        descriptor = self._system.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            self._write(descriptor, data, 0)
            self._sync(descriptor)
        finally:
            self._system.close(descriptor)
        self._system.rename(path, self._path(segment_no, OPEN))
        sync_folder(self.folder, self._system)
        self._system.rename(self._path(segment_no, OPEN), self._path(segment_no, SEALED))
        log.warning("Segment recovered.", extra={"writer": self.writer, "segment_no": segment_no, "bytes": len(data)})

    @contextmanager
    def _classified(self) -> Iterator[None]:
        """Turn an OSError into the answer to "may a later call succeed?"; after a broken disk none may."""
        if self._is_broken:
            message = f"the disk under {self.folder} failed before"
            raise SpoolBrokenError(message, hint="check the disk")
        try:
            yield
        except SpoolBrokenError:
            self._is_broken = True
            raise
        except OSError as error:
            message = f"cannot write to {self.folder}: {error.strerror}"
            if error.errno in _FULL:
                raise SpoolFullError(message, hint="make room on the disk") from error
            self._is_broken = True
            raise SpoolBrokenError(message, hint="check the disk") from error


def _lock(folder: Path) -> int | None:
    """The lock of a folder as an open descriptor, None when another process has it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor

"""History: one folder of a spool over any number of crashes, and what must be true of it at every moment.

Each payload is given to `append` once. What is known from outside: which calls returned, what the loader took away.
"""

from __future__ import annotations

import errno
import os
import random
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import cast

from evothesis.errors import SpoolBrokenError, SpoolFullError
from evothesis.spool.frame import Damage, Frame, decode
from evothesis.spool.writer import Writer
from tests.faults.model import Crash, FileSystem

FOLDER = "/spool/7"
LOADED = f"{FOLDER}/loaded/2026112209"

Content = list[Frame | Damage]


class Lock:
    """The lock of a folder: a real file, as locks lie outside of the model."""

    def __init__(self) -> None:
        """Take it."""
        self.descriptor = os.memfd_create("lock")
        self._inode = os.fstat(self.descriptor).st_ino

    def release(self) -> None:
        """Let go of it, unless the writer did; the number may be another file's by now."""
        with suppress(OSError):
            if os.fstat(self.descriptor).st_ino == self._inode:
                os.close(self.descriptor)


def open_writer(system: FileSystem, lock: Lock) -> Writer:
    """A writer of the folder in that file system."""
    return Writer(Path(FOLDER), lock=lock.descriptor, system=cast(ModuleType, system))


class History:
    """A writer, the loader that follows it, and what they have promised so far."""

    def __init__(self, seed: int, system: FileSystem | None = None) -> None:
        """Open a new folder."""
        self.chance = random.Random(seed)
        self.system = system or FileSystem(random.Random(f"{seed} disk"))
        self.system.mkdir(LOADED)
        self.given: list[bytes] = []
        self.acked: list[bytes] = []
        self.loaded: list[Content] = []  # by number
        self._sighted: dict[int, Content] = {}  # what was handed over under a number, once and for ever
        self._writer: Writer | None = None
        self._lock = Lock()
        self.recover()

    @property
    def writer(self) -> Writer:
        """The one that runs."""
        assert self._writer
        return self._writer

    def payloads(self) -> list[bytes]:
        """What lies in the folder, or was taken from it, in order."""
        contents = dict(enumerate(self.loaded))
        for name in self.system.names(FOLDER):
            number, _, suffix = name.partition(".")
            if suffix == "sealed" or (suffix == "open" and int(number) not in contents):
                contents[int(number)] = self._decode(f"{FOLDER}/{name}", int(number))
        return [part.payload for number in sorted(contents) for part in contents[number] if isinstance(part, Frame)]

    def append(self) -> None:
        """Append some entries of any size; a call that returns is a promise."""
        entries = [(self.payload(), self.chance.randint(0, 4)) for _ in range(self.chance.choice((1, 1, 2, 5)))]
        self.writer.append(entries)
        self.acked += [payload for payload, _ in entries]

    def seal(self) -> None:
        """Hand over what there is."""
        self.writer.seal()

    def close(self) -> None:
        """Stop in order; `recover` starts again."""
        writer, self._writer = self.writer, None
        writer.close()

    def restart(self) -> None:
        """Stop in order, and start again."""
        self.close()
        self.recover()

    def fill_disk(self) -> None:
        """Append and seal on a disk that is nearly full: what is refused does not count. Then there is room again."""
        self.system.room_bytes = self.chance.choice((0, self.chance.randint(0, 3000)))
        for step in self.chance.choices((self.append, self.seal), k=3):
            try:
                step()
            except SpoolFullError:
                assert self.system.room_bytes < 5000
        self.system.room_bytes = float("inf")

    def fail_sync(self) -> None:
        """Append to a disk that fails: the writer is not used any more, its process ends."""
        self.system.fail_in(0, errno.EIO, only="fdatasync")
        try:
            self.append()
        except SpoolBrokenError:
            self.crash()

    def load(self) -> None:
        """Take away what is sealed, in order, as the loader does: what was stored stays stored."""
        for name in self.system.names(FOLDER):
            if not name.endswith(".sealed"):
                continue
            number = int(name.partition(".")[0])
            content = self._decode(f"{FOLDER}/{name}", number)
            assert number <= len(self.loaded), f"segment {len(self.loaded)} is missing"
            if number == len(self.loaded):
                self.loaded.append(content)
            self.system.move(f"{FOLDER}/{name}", f"{LOADED}/{number:012d}.loaded")

    def crash(self) -> None:
        """The process ends, or the machine; what comes then keeps every promise."""
        self.chance.choice((self.system.kill, self.system.cut_power))()
        self.recover()

    def crash_within(self) -> None:
        """Something goes on, and within one of its calls everything ends."""
        self.system.crash_in(self.chance.randint(0, 12))
        try:
            for step in self.chance.choices((self.append, self.seal, self.restart), k=3):
                step()
        except Crash:
            self.crash()
        else:
            self.system.crash_in(10**9)

    def open(self) -> None:
        """Start, once."""
        self._lock.release()
        self._lock = Lock()
        self._writer = open_writer(self.system, self._lock)

    def recover(self) -> None:
        """Start, maybe several times, until nothing crashes."""
        while True:
            is_cut = self.chance.random() < 0.3
            self.system.crash_in(self.chance.randint(0, 25) if is_cut else 10**9)
            try:
                self.open()
            except Crash:
                self.chance.choice((self.system.kill, self.system.cut_power))()
            else:
                self.system.crash_in(10**9)
                return

    def end(self) -> None:
        """Close, and let the loader take everything; nothing is left but an empty open segment."""
        self.restart()
        self.load()
        self.check()
        self.system.kill()
        self._lock.release()
        assert [b""] == [self.system.read(f"{FOLDER}/{name}") for name in self.system.names(FOLDER) if "." in name]

    def check(self) -> None:
        """Whatever happened: everything that was promised is there once, in order, under one name, and nothing else."""
        found = self.payloads()
        assert set() == set(self.acked) - set(found), "lost"
        assert [payload for payload in self.given if payload in set(found)] == found, "twice, in disorder or invented"
        handed_over = dict(enumerate(self.loaded)) | {
            int(name.partition(".")[0]): self._decode(f"{FOLDER}/{name}", int(name.partition(".")[0]))
            for name in self.system.names(FOLDER)
            if name.endswith(".sealed")
        }
        for number, content in handed_over.items():
            assert self._sighted.setdefault(number, content) == content, f"another content under the number {number}"
        assert [] == self.system.lies, "a file was synced again after a sync of it had failed"
        assert 1 == self.system.open_files, "descriptors leak"

    def payload(self) -> bytes:
        """A new one, of any size."""
        size = self.chance.choice((0, self.chance.randint(0, 60), self.chance.randint(0, 1500)))
        payload = b"%d " % len(self.given) + self.chance.choice((b"EVF1", b"EVF2", b"\0", b"x")) * size
        self.given.append(payload)
        return payload

    def _decode(self, path: str, number: int) -> Content:
        return list(decode(self.system.read(path), segment_no=number))

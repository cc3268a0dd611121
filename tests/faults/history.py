"""History: one folder of a spool over any number of crashes, and what must be true of it at every moment.

Each payload is given to `append` once. What is known from outside: which calls returned, what the loader took away.
"""

from __future__ import annotations

import os
import random
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


def open_writer(system: FileSystem) -> Writer:
    """A writer of the folder in that file system."""
    lock = os.open(os.devnull, os.O_RDONLY)  # a lock lies outside of the model
    try:
        return Writer(Path(FOLDER), lock=lock, system=cast(ModuleType, system))
    except BaseException:
        os.close(lock)
        raise


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
        entries = [(self._payload(), self.chance.randint(0, 4)) for _ in range(self.chance.choice((1, 1, 2, 5)))]
        self.writer.append(entries)
        self.acked += [payload for payload, _ in entries]

    def seal(self) -> None:
        """Hand over what there is."""
        self.writer.seal()

    def close(self) -> None:
        """Stop in order, and start again."""
        writer, self._writer = self.writer, None
        writer.close()
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
        self.system.fail_in(0, 5, only="fdatasync")
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
            for step in self.chance.choices((self.append, self.seal, self.close), k=3):
                step()
        except Crash:
            self.crash()
        else:
            self.system.crash_in(10**9)

    def recover(self) -> None:
        """Start again, maybe several times, until nothing crashes."""
        while True:
            is_cut = self.chance.random() < 0.3
            self.system.crash_in(self.chance.randint(0, 25) if is_cut else 10**9)
            try:
                self._writer = open_writer(self.system)
            except Crash:
                self.chance.choice((self.system.kill, self.system.cut_power))()
            else:
                self.system.crash_in(10**9)
                return

    def check(self) -> None:
        """Whatever happened: everything that was promised is there once, in order, under one name, and nothing else."""
        found = self.payloads()
        assert set() == set(self.acked) - set(found), "lost"
        assert [payload for payload in self.given if payload in set(found)] == found, "twice, in disorder or invented"
        for name in self.system.names(FOLDER):
            number, _, suffix = name.partition(".")
            if suffix == "sealed":
                content = self._decode(f"{FOLDER}/{name}", int(number))
                assert self._sighted.setdefault(int(number), content) == content, f"another content under {name}"
        for number, content in enumerate(self.loaded):
            assert self._sighted.setdefault(number, content) == content, f"another content under {number}"
        assert [] == self.system.lies, "a file was synced again after a sync of it had failed"
        assert 1 == self.system.open_files

    def _payload(self) -> bytes:
        size = self.chance.choice((0, self.chance.randint(0, 60), self.chance.randint(0, 1500)))
        payload = b"%d " % len(self.given) + self.chance.choice((b"EVF1", b"\0", b"x")) * size
        self.given.append(payload)
        return payload

    def _decode(self, path: str, number: int) -> Content:
        return list(decode(self.system.read(path), segment_no=number))

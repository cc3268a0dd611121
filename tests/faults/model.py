"""Model: a file system that forgets what was not synced, as a real one may when the power is cut.

    system = FileSystem(random.Random(seed))
    system.mkdir("/spool/7")
    writer = Writer(Path("/spool/7"), system=system)       # takes it for the module `os`
    system.cut_power()

What a process reads is what was written; what a power cut leaves: see `disk`. A file's entry is durable when its
*folder* was synced (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014), its bytes when it was synced
and no sync of it had failed before (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
Whatever is open to chance is decided by the random numbers that the model was given.
"""

from __future__ import annotations

import errno
import os
import random
from math import inf

from tests.faults.disk import Change, Node, enact, parent, with_causes

FIRST_DESCRIPTOR = 1_000_000  # no real file is meant by it


class Crash(BaseException):
    """The process ended within a call. No code under test can catch it by accident."""


class FileSystem:
    """The functions of the module `os` that a spool's writer uses, over files that live in memory."""

    def __init__(self, chance: random.Random) -> None:
        """It is empty."""
        self._chance = chance
        self._seen: dict[str, Node] = {"/": Node(is_folder=True)}
        self._durable = dict(self._seen)
        self._changes: list[Change] = []
        self._opened: dict[int, Node] = {}
        self._next_descriptor = FIRST_DESCRIPTOR
        self._is_down = False
        self._crash_in: float = inf
        self._fail_in: float = inf
        self._fail_with = 0
        self._fail_only = ""
        self._failures = 0
        self.failed: list[str] = []  # the calls that were made to fail
        self.room_bytes: float = inf  # by which files may still grow
        self.short_writes = False  # write(2) may write less than it was asked to
        self.lies: list[str] = []  # syncs of files of which a sync had failed before

    # what may go wrong

    def crash_in(self, calls: int) -> None:
        """Let the process end within a call; 0 is the next one."""
        self._crash_in = calls

    def fail_in(self, calls: int, code: int, *, only: str = "", times: int = 1) -> None:
        """Let that many calls fail with that errno: 0 is the next one, counted are those named `only`."""
        self._fail_in, self._fail_with, self._fail_only, self._failures = calls, code, only, times

    @property
    def open_files(self) -> int:
        """How many descriptors nobody closed."""
        return len(self._opened)

    def kill(self) -> None:
        """The process is gone; the kernel, with all that it holds in memory, lives on."""
        self._opened.clear()
        self._is_down = False
        self._crash_in = self._fail_in = inf

    def cut_power(self) -> None:
        """The machine is gone, and comes up again with what its disk holds."""
        for node in dict.fromkeys([*self._seen.values(), *self._durable.values()]):  # a set has no order
            node.tear(self._chance)
            node.content[:] = node.durable
            node.sync_failed = False
        self._persist(self._survivors())
        self._changes.clear()
        for path in sorted(self._durable):
            if path != "/" and parent(path) not in self._durable:
                del self._durable[path]
        self._seen = dict(self._durable)
        self.kill()

    # what other processes do

    def mkdir(self, path: str) -> None:
        """Make a folder that is durable, with those above it, unless it is there."""
        while path not in self._seen:
            self._seen[path] = self._durable[path] = Node(is_folder=True)
            path = parent(path)

    def move(self, path: str, target: str) -> None:
        """Rename, as the loader does."""
        node = self._seen[path]
        self._change(Change({path: None, target: node}, node))

    def read(self, path: str) -> bytes:
        """All of a file."""
        return bytes(self._seen[path].content)

    def names(self, folder: str) -> list[str]:
        """What a folder holds."""
        return sorted(path.rpartition("/")[2] for path in self._seen if path != "/" and parent(path) == folder)

    # the module `os`

    def open(self, path: str, flags: int, _mode: int = 0o777) -> int:
        """Give a descriptor."""
        self._enter("open")
        if path not in self._seen:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self._take_room(1)
            node = Node()
            self._change(Change({path: node}, node))
        elif flags & os.O_TRUNC and self._seen[path].content:
            self._seen[path].change(0, None)
        self._opened[self._next_descriptor] = self._seen[path]
        self._next_descriptor += 1
        return self._next_descriptor - 1

    def close(self, descriptor: int) -> None:
        """Let a descriptor go, also when it fails."""
        node = self._node(descriptor)
        del self._opened[descriptor]
        try:
            self._enter("close")
        except Crash:
            self._opened[descriptor] = node
            raise

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """Write in memory."""
        node, data = self._node(descriptor), bytes(data)
        try:
            self._enter("pwrite")
        except Crash:
            node.change(offset, data[: self._chance.randint(0, len(data))])
            raise
        if self.short_writes and self._chance.random() < 0.3:
            data = data[: self._chance.randint(1, len(data))]
        data = data[: self._take_room(max(0, offset + len(data) - len(node.content)), len(data))]
        node.change(offset, data)
        return len(data)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        """Read."""
        self._enter("pread")
        return bytes(self._node(descriptor).content[offset : offset + size])

    def ftruncate(self, descriptor: int, size: int) -> None:
        """Cut in memory."""
        self._enter("ftruncate")
        node = self._node(descriptor)
        self.room_bytes += max(0, len(node.content) - size)
        if size != len(node.content):
            node.change(size, None)

    def fdatasync(self, descriptor: int) -> None:
        """Bring a file's bytes to the disk, unless a sync of it failed before."""
        node = self._node(descriptor)
        if node.sync_failed:
            self.lies.append(next(path for path in self._seen if self._seen[path] is node))
        try:
            self._enter("fdatasync")
        except OSError:
            node.tear(self._chance)
            node.sync_failed = True
            raise
        node.settle()

    def fsync(self, descriptor: int) -> None:
        """Make a folder's entries durable; of a file the bytes, and not its entry."""
        self._enter("fsync")
        node = self._node(descriptor)
        node.settle()
        folder = next((path for path, found in self._seen.items() if found is node), "")
        if node.is_folder:
            wanted = [change for change in self._changes if folder in change.folders]
            self._persist(with_causes(self._changes, wanted))

    def rename(self, source: str, target: str) -> None:
        """Rename in memory."""
        self._enter("rename")
        self.move(source, target)

    def unlink(self, path: str) -> None:
        """Remove in memory."""
        self._enter("unlink")
        self._change(Change({path: None}, self._seen[path]))

    def listdir(self, path: str) -> list[str]:
        """The names in a folder, in the order of a hash table."""
        self._enter("listdir")
        names = self.names(path)
        self._chance.shuffle(names)
        return names

    def _enter(self, name: str) -> None:
        if self._is_down or self._crash_in < 1:
            self._is_down = True
            raise Crash
        self._crash_in -= 1
        if self._fail_only in ("", name):
            self._fail_in -= 1
            if self._fail_in < 0 < self._failures:
                self._failures -= 1
                self.failed.append(name)
                raise OSError(self._fail_with, os.strerror(self._fail_with))

    def _take_room(self, growth: int, size: int = 0) -> int:
        """How much of a write of `size` that makes its file grow by `growth` there is room for; not none."""
        lacking = max(0, growth - self.room_bytes)
        self.room_bytes -= growth - lacking
        if lacking and lacking >= size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return size - int(lacking)

    def _node(self, descriptor: int) -> Node:
        if descriptor not in self._opened:
            if self._is_down:
                raise Crash
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._opened[descriptor]

    def _change(self, change: Change) -> None:
        self._changes.append(change)
        enact(self._seen, change)

    def _survivors(self) -> list[Change]:
        """Changes that reach the disk at a power cut: all, none, the first few, or any that can."""
        changes = self._changes
        if self._chance.random() < 0.5:
            return changes[: self._chance.randint(0, len(changes))]
        survivors: list[Change] = []
        lost: list[Change] = []
        share = self._chance.random()
        for change in changes:
            is_possible = not any(change.depends_on(other) for other in lost)
            (survivors if is_possible and self._chance.random() < share else lost).append(change)
        return survivors

    def _persist(self, changes: list[Change]) -> None:
        for change in changes:
            enact(self._durable, change)
        self._changes = [change for change in self._changes if change not in changes]

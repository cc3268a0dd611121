"""Model: a file system that forgets what was not synced, as a real one may when the power is cut.

    system = FileSystem(random.Random(seed))
    system.mkdir("/spool/7")
    writer = Writer(Path("/spool/7"), system=system)       # takes it for the module `os`
    system.cut_power()

What a process reads is what was written. What a power cut leaves is what was synced, and of the rest anything that a
disk may have got to: sectors of 512 bytes in any subset, a file's size without its bytes, directory entries in
any order in which they do not depend on each other. A file's entry is durable when its *folder* was synced (see Pillai et
al., "All File Systems Are Not Created Equal", OSDI 2014). After a failed sync the kernel calls the pages clean: a later
sync of the file says yes and writes nothing of them (Rebello et al., "Can Applications Recover from fsync Failures?",
USENIX ATC 2020). Whatever is open to chance is decided by the random numbers that the model was given.
"""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from math import inf

SECTOR_BYTES = 512
FIRST_DESCRIPTOR = 1_000_000  # no real file is meant by it


class Crash(BaseException):
    """The process ended within a call. No code under test can catch it by accident."""


@dataclass(eq=False)
class Node:
    """A file, or a folder."""

    is_folder: bool = False
    content: bytearray = field(default_factory=bytearray)  # what processes see
    durable: bytearray = field(default_factory=bytearray)  # what is on the disk for certain
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, bytes), or (size, None): cut there
    sync_failed: bool = False  # since it was last empty

    def change(self, offset: int, data: bytes | None) -> None:
        """Write, or cut, in memory."""
        _apply(self.content, offset, data)
        self.pending.append((offset, data))
        if data is None and offset == 0:
            self.sync_failed = False  # none of the pages that were lost is left

    def settle(self) -> None:
        """Bring everything that is pending to the disk."""
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending.clear()

    def tear(self, chance: random.Random) -> None:
        """Bring to the disk what chance wants: of each sector the first few changes, and of its cuts any."""
        share = chance.choice((0.0, 1.0, chance.random()))
        reached: dict[int, bool] = {}
        for offset, data in self.pending:
            if data is None:
                if chance.random() < share:
                    _apply(self.durable, offset, None)
                continue
            for begin, end in _sectors(offset, len(data)):
                sector = begin // SECTOR_BYTES
                reached[sector] = reached.get(sector, True) and chance.random() < share
                if reached[sector]:
                    _apply(self.durable, begin, data[begin - offset : end - offset])
        if self.pending and len(self.durable) < len(self.content) and chance.random() < 0.2:
            self.durable.extend(bytes(chance.randint(1, len(self.content) - len(self.durable))))
        self.pending.clear()


@dataclass(eq=False)
class Change:
    """A change of directory entries that is not durable yet: `paths` name what it adds (a node) and removes (None)."""

    paths: dict[str, Node | None]
    node: Node

    @property
    def folders(self) -> set[str]:
        """Whose sync makes it durable."""
        return {os.path.dirname(path) for path in self.paths}  # noqa: PTH120 - paths of the model are text

    def depends_on(self, earlier: Change) -> bool:
        """Whether it cannot reach the disk before `earlier` does."""
        return self.node is earlier.node or not self.paths.keys().isdisjoint(earlier.paths)


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
        self.calls: list[str] = []
        self.room_bytes: float = inf  # by which files may still grow
        self.short_writes = False  # write(2) may write less than it was asked to
        self.lies: list[str] = []  # syncs of files of which a sync had failed before

    # what may go wrong

    def crash_in(self, calls: int) -> None:
        """Let the process end within a call; 0 is the next one."""
        self._crash_in = calls

    def fail_in(self, calls: int, code: int, *, only: str = "") -> None:
        """Let one call fail with that errno: 0 is the next one, counted are those named `only`."""
        self._fail_in, self._fail_with, self._fail_only = calls, code, only

    @property
    def will_fail(self) -> bool:
        """Whether the call that is to fail is still to come."""
        return self._fail_in < inf

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
        for node in {*self._seen.values(), *self._durable.values()}:
            node.tear(self._chance)
            node.content[:] = node.durable
            node.sync_failed = False
        self._persist(self._survivors())
        self._changes.clear()
        for path in sorted(self._durable):
            if path != "/" and _parent(path) not in self._durable:
                del self._durable[path]
        self._seen = dict(self._durable)
        self.kill()

    # what other processes do

    def mkdir(self, path: str) -> None:
        """Make a folder that is durable, with those above it, unless it is there."""
        while path not in self._seen:
            self._seen[path] = self._durable[path] = Node(is_folder=True)
            path = _parent(path)

    def move(self, path: str, target: str) -> None:
        """Rename, as the loader does."""
        node = self._seen[path]
        self._change(Change({path: None, target: node}, node))

    def read(self, path: str) -> bytes:
        """All of a file."""
        return bytes(self._seen[path].content)

    def names(self, folder: str) -> list[str]:
        """What a folder holds."""
        return sorted(path.rpartition("/")[2] for path in self._seen if path != "/" and _parent(path) == folder)

    # the module `os`

    def open(self, path: str, flags: int, _mode: int = 0o777) -> int:
        """See open(2)."""
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
        """See close(2): the descriptor is gone even when it fails."""
        node = self._node(descriptor)
        del self._opened[descriptor]
        try:
            self._enter("close")
        except Crash:
            self._opened[descriptor] = node
            raise

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """See pwrite(2)."""
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
        """See pread(2)."""
        self._enter("pread")
        return bytes(self._node(descriptor).content[offset : offset + size])

    def ftruncate(self, descriptor: int, size: int) -> None:
        """See ftruncate(2)."""
        self._enter("ftruncate")
        node = self._node(descriptor)
        self.room_bytes += max(0, len(node.content) - size)
        if size != len(node.content):
            node.change(size, None)

    def fdatasync(self, descriptor: int) -> None:
        """See fdatasync(2). A folder's is what a process that is not this one may need."""
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
        """See fsync(2): of a folder it makes the entries durable, of a file its bytes and not its entry."""
        self._enter("fsync")
        node = self._node(descriptor)
        node.settle()
        folder = next((path for path, found in self._seen.items() if found is node), "")
        if node.is_folder:
            wanted = [change for change in self._changes if folder in change.folders]
            self._persist(_with_causes(self._changes, wanted))

    def rename(self, source: str, target: str) -> None:
        """See rename(2)."""
        self._enter("rename")
        self.move(source, target)

    def unlink(self, path: str) -> None:
        """See unlink(2)."""
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
        self.calls.append(name)
        if self._fail_only in ("", name):
            self._fail_in -= 1
            if self._fail_in < 0:
                self._fail_in = inf
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
        _enact(self._seen, change)

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
            _enact(self._durable, change)
        self._changes = [change for change in self._changes if change not in changes]


def _enact(entries: dict[str, Node], change: Change) -> None:
    for path, node in change.paths.items():
        if node is None:
            entries.pop(path, None)
        else:
            entries[path] = node


def _with_causes(changes: list[Change], wanted: list[Change]) -> list[Change]:
    """What must be on the disk, in order, when `wanted` is."""
    needed = list(wanted)
    for change in reversed(changes):
        if change not in needed and any(other.depends_on(change) for other in needed):
            needed.append(change)
    return [change for change in changes if change in needed]


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    if data is None:
        del content[offset:]
    else:
        content[offset : offset + len(data)] = data


def _sectors(offset: int, size: int) -> list[tuple[int, int]]:
    """A stretch of bytes, cut where sectors begin."""
    borders = range((offset // SECTOR_BYTES + 1) * SECTOR_BYTES, offset + size, SECTOR_BYTES)
    return list(zip([offset, *borders], [*borders, offset + size], strict=True)) if size else []


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"

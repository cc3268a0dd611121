"""Disk: what of a file's bytes, and of the changes of a folder, is on the disk for certain, and what may be.

Of bytes that were not synced, sectors of 512 bytes in any subset are there after a power cut, and a file's size may be
there without its bytes. Changes of entries that do not depend on each other may be there in any order. After a failed
sync the kernel calls the pages clean: a later sync of the file says yes and writes nothing of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SECTOR_BYTES = 512


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
        return {parent(path) for path in self.paths}

    def depends_on(self, earlier: Change) -> bool:
        """Whether it cannot reach the disk before `earlier` does."""
        return self.node is earlier.node or not self.paths.keys().isdisjoint(earlier.paths)


def parent(path: str) -> str:
    """The folder of a file or a folder."""
    return path.rpartition("/")[0] or "/"


def enact(entries: dict[str, Node], change: Change) -> None:
    """Make a change in `entries`."""
    for path, node in change.paths.items():
        if node is None:
            entries.pop(path, None)
        else:
            entries[path] = node


def with_causes(changes: list[Change], wanted: list[Change]) -> list[Change]:
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

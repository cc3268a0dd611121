"""Control group: a size in, a place for processes that cannot have more memory than that, and what they had, out.

Both kinds of Linux's hierarchies do: version 2, and the older one of which each controller has a tree of its own. The
kernel charges a process's memory to its group, with the files that it is the first to read or write.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MIB = 2**20
EMPTY_SECONDS_MAX = 10  # until the last of its processes is gone
ENTER = 'echo $$ > "$0" && exec "$@"'


class Content(NamedTuple):
    """What a group holds now, MiB."""

    private: float
    shared: float  # PostgreSQL's buffers, above all; without swap neither can be taken away
    files: float  # cached, and given up when there is no room
    kernel: float  # page tables, sockets, open files

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self)


class ControlGroup:
    """A group for one run."""

    def __init__(self, bytes_max: int) -> None:
        """Make it. Raises RuntimeError where the kernel or our rights do not allow that."""
        folder, self._is_v2 = _parent()
        self._folder = folder / f"evothesis-benchmark-{os.getpid()}"
        try:
            self._folder.mkdir()
            self._limit(bytes_max)
        except OSError as error:
            if self._folder.exists():
                self._folder.rmdir()
            message = f"cannot limit memory with {self._folder}: {error.strerror}; that takes root, outside a container"
            raise RuntimeError(message) from error

    def _limit(self, bytes_max: int) -> None:
        names = ["memory.max"] if self._is_v2 else ["memory.limit_in_bytes"]
        (self._folder / names[0]).write_text(str(bytes_max))
        # nothing goes to a swap space instead
        swap, value = ("memory.swap.max", 0) if self._is_v2 else ("memory.memsw.limit_in_bytes", bytes_max)
        if (self._folder / swap).exists():
            (self._folder / swap).write_text(str(value))

    def prefix(self) -> list[str]:
        """What makes a command, with all that it starts, run inside."""
        return ["sh", "-c", ENTER, str(self._folder / "cgroup.procs")]

    def content(self) -> Content:
        """What is in it now."""
        numbers = self._numbers("memory.stat")
        if self._is_v2:
            shared, kernel = numbers["shmem"], numbers["kernel"]
            parts = (numbers["anon"], shared, numbers["file"] - shared, kernel)
        else:
            shared, kernel = numbers["total_shmem"], int(self._text("memory.kmem.usage_in_bytes"))
            parts = (numbers["total_rss"], shared, numbers["total_cache"] - shared, kernel)
        return Content(*(part / MIB for part in parts))

    def peak(self) -> float:
        """The most there ever was in it, MiB."""
        return int(self._text("memory.peak" if self._is_v2 else "memory.max_usage_in_bytes")) / MIB

    def kills(self) -> int:
        """How many processes were killed because there was no room."""
        return self._numbers("memory.events" if self._is_v2 else "memory.oom_control")["oom_kill"]

    def major_faults(self) -> int:
        """How often a process waited because what it needed had been given up, and came from the disk again."""
        return self._numbers("memory.stat")["pgmajfault" if self._is_v2 else "total_pgmajfault"]

    def remove(self) -> None:
        """Remove it when its processes have ended."""
        deadline = time.monotonic() + EMPTY_SECONDS_MAX
        while inside := self._text("cgroup.procs").split():
            if time.monotonic() > deadline:
                message = f"{self._folder} still holds processes: {' '.join(inside)}"
                raise RuntimeError(message)
            time.sleep(0.1)
        self._folder.rmdir()

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text()

    def _numbers(self, name: str) -> dict[str, int]:
        return {key: int(value) for key, value in (line.split() for line in self._text(name).splitlines())}


def _parent() -> tuple[Path, bool]:
    """Where a group can be made, and whether that is version 2.

    The older kind allows it below our own group. In version 2 a group that has processes gives no controller to the
    groups below it, so it is the nearest one above us that does.
    """
    ours = dict(re.findall(r"^\d+:([^:]*):(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE))
    own_v1 = next((path for names, path in ours.items() if "memory" in names.split(",")), None)
    if own_v1 is not None:
        mount = _mount(lambda kind, options: kind == "cgroup" and "memory" in options)
        return next(folder for folder in _upwards(mount, own_v1) if folder.exists()), False
    mount = _mount(lambda kind, _options: kind == "cgroup2")
    for folder in _upwards(mount, ours[""]):
        given = folder / "cgroup.subtree_control"
        if given.exists() and "memory" in given.read_text().split():
            return folder, True
    message = f"no group in {mount} may limit the memory of the groups below it"
    raise RuntimeError(message)


def _mount(chosen: Callable[[str, list[str]], bool]) -> Path:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, target, kind, options, *_rest = line.split()
        if chosen(kind, options.split(",")):
            return Path(target)
    message = "no hierarchy of control groups is mounted"
    raise RuntimeError(message)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    folder = mount / path.lstrip("/")
    yield folder
    while folder != mount:
        folder = folder.parent
        yield folder

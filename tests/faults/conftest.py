"""Small disks, to be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

MakeDisk = Callable[[int], Path]


def command(*arguments: str) -> None:
    """Run a program of the system."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"{' '.join(arguments)}: {done.stderr}"


def fill(disk: Path) -> None:
    """Take all room that is left, all of it at once: others make room when they see that it gets scarce."""
    with (disk / "filler").open("ab") as file:
        while room := shutil.disk_usage(disk).free:
            with suppress(OSError):  # others wrote meanwhile
                os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END) + room)
                return


def free(disk: Path) -> None:
    """Give the room back."""
    (disk / "filler").unlink(missing_ok=True)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Make file systems of that many bytes, each a folder."""
    made: list[Path] = []

    def make(size_bytes: int) -> Path:
        assert os.geteuid() == 0, "this test mounts a file system: run it as root"
        disk = tmp_path / f"disk-{len(made)}"
        disk.mkdir()
        command("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0750", "evothesis-test", str(disk))
        made.append(disk)
        return disk

    yield make
    for disk in made:
        while disk.is_mount():
            command("umount", "--lazy", str(disk))

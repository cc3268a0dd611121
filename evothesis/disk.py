"""Disk: what makes a file's name durable."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType


def sync_folder(folder: Path, system: ModuleType = os) -> None:
    """Bring to the disk which files a folder has. `system` has the functions of `os`. Raises OSError."""
    descriptor = system.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        system.fsync(descriptor)
    finally:
        system.close(descriptor)

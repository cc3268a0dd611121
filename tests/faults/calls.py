"""Calls: the module `os` on real files, some of whose calls fail, and which remembers which folders were synced."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Which = Callable[[int, str], int]


class Calls:
    """What a writer takes for `os`."""

    def __init__(self) -> None:
        """Nothing fails."""
        self.synced: list[Path] = []
        self.failed: list[str] = []
        self._fail: Which = lambda _number, _name: 0
        self._number = 0

    def fail(self, which: Which) -> None:
        """Let calls fail: `which` tells the errno of the call of that number and name, or 0."""
        self._fail, self._number = which, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real: Callable[..., Any] = getattr(os, name)

        def call(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the real one takes and gives
            code = self._fail(self._number, name)
            self._number += 1
            if code:
                self.failed.append(name)
                if name == "close":  # it is gone even then, see close(2)
                    real(*arguments)
                raise OSError(code, os.strerror(code))
            if name == "fsync":
                self.synced.append(Path(f"/proc/self/fd/{arguments[0]}").readlink())
            return real(*arguments)

        return call

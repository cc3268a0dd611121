"""Requests: exports that somebody else runs, for a process that has no network; what is said passes through files.

A file asks for one (systemd/evothesis-export.path looks after it); that it goes away says that one began. Beside it
`.began` has the time, and `.ended` the exit code, of the last one, whoever started it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evothesis.admin.exports import configured
from evothesis.config import Config
from evothesis.exporter.status import Status


class Requests:
    """At most one waits: who asks for another one before it begins has asked for the same."""

    def __init__(self, path: Path) -> None:
        """`path` is the file that asks."""
        self._wanted = path
        self._began = path.with_suffix(".began")
        self._ended = path.with_suffix(".ended")

    @property
    def is_running(self) -> bool:
        """Whether one is asked for, or under way."""
        return self._wanted.exists() or (self._began.exists() and not self._ended.exists())

    async def start(self) -> None:
        """Ask for one."""
        self._wanted.touch()

    async def close(self) -> None:
        """What was asked for goes on without us."""

    def last(self) -> dict[str, Any] | None:
        """The last one, None when there was none since this machine was switched on."""
        is_running = self.is_running
        began_at = _written_at(self._wanted) or _written_at(self._began)
        if began_at is None:
            return None
        code = None
        with suppress(OSError, ValueError):  # one that a signal ended has its name
            code = int(self._ended.read_text(encoding="utf-8"))
        return {
            "running": is_running,
            "began_at": began_at,
            "ended_at": None if is_running else _written_at(self._ended),
            "exit_code": None if is_running else code,
        }


def known(config: Config, lines: list[Status]) -> list[dict[str, Any]]:
    """Every destination as it is configured, without secrets, and how it went when an export last tried it."""
    return [
        configured(destination)
        | {"ok": line.failures == 0 if line.tried_at else None}
        | {"error": line.error, "hint": line.hint, "tried_at": line.tried_at}
        for destination, line in zip(config.export.destination, lines, strict=True)
    ]


def _written_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None

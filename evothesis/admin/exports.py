"""Exports: start one, tell how it went, how far each destination is, and whether its credentials work."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from evothesis.config import Config, Destination
from evothesis.setting import MASK, masked

STOP_SECONDS = 3  # which an export has to end; one that is killed goes on where it was at its next start
REACH_SECONDS = 20  # which a destination has to answer


class Exports:
    """`evothesis export`, at most one at a time, as a process of its own: it takes memory, and gives it back."""

    def __init__(self, command: Sequence[str]) -> None:
        """`command` runs one export."""
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._began_at: datetime | None = None
        self._ended_at: datetime | None = None
        self._watching: asyncio.Task[None] | None = None
        self._reaching: asyncio.Task[list[dict[str, Any]]] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the one that was started here is under way."""
        return self._began_at is not None and self._ended_at is None

    async def start(self) -> None:
        """Start one; what it logs goes where this process logs. None may be running."""
        # at once: another request may come while the process is made
        self._began_at, self._ended_at, self._process = datetime.now(UTC), None, None
        nothing = asyncio.subprocess.DEVNULL
        try:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=nothing, stdout=nothing)
        except OSError:
            self._ended_at = datetime.now(UTC)
            raise
        self._watching = asyncio.create_task(self._watch(self._process))

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        self._ended_at = datetime.now(UTC)

    async def close(self) -> None:
        """End what was started here."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process and self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.send_signal(number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._process.wait(), STOP_SECONDS)

    def last(self) -> dict[str, Any] | None:
        """The last one that was started here, None when none was."""
        if self._began_at is None:
            return None
        return {
            "running": self.is_running,
            "began_at": self._began_at,
            "ended_at": self._ended_at,
            "exit_code": self._process.returncode if self._process else None,
        }

    async def reach(self, config: Config) -> list[dict[str, Any]]:
        """Every destination as it is configured, without secrets, and whether it can be written to: really tried.

        Who asks while it is being tried waits for the same answer.
        """
        if self._reaching is None or self._reaching.done():
            tries = [_reach(destination, config.instance) for destination in config.export.destination]
            self._reaching = asyncio.create_task(_all(tries))
        return await asyncio.shield(self._reaching)


async def _all(tries: list[Any]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*tries))


def configured(destination: Destination) -> dict[str, Any]:
    """Its settings, without secrets."""
    fields = {name: masked(name, value) for name, value in msgspec.structs.asdict(destination).items()}
    return fields | {"access_key_id": destination.access_key_id and f"{destination.access_key_id[:4]}{MASK}"}


async def _reach(destination: Destination, instance: str) -> dict[str, Any]:
    from evothesis.exporter.reach import reach  # what it needs is large, and seldom asked for

    fields = configured(destination) | {"tried_at": datetime.now(UTC)}
    try:
        error = await asyncio.wait_for(asyncio.to_thread(reach, destination, instance=instance), REACH_SECONDS)
    except TimeoutError:
        return fields | {
            "ok": False,
            "error": f"no answer within {REACH_SECONDS} s",
            "hint": "check endpoint and network",
        }
    return fields | {"ok": error is None, "error": str(error) if error else None, "hint": error.hint if error else None}

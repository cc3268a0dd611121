"""Steps: what is to be changed on a machine, said before it is done. What is right already is no step."""

from __future__ import annotations

import grp
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evothesis.errors import EvothesisError


class Step(NamedTuple):
    """One change: what is said of it, and how it is done. `do` raises EvothesisError."""

    what: str
    do: Callable[[], object]


def command(*words: str, text: str = "") -> str:
    """Run a program of the system with `text` as its input; its output. Raises EvothesisError."""
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"cannot run {words[0]}: {error.strerror}"
        raise EvothesisError(message, hint="this needs Debian 12, Ubuntu 24.04 or newer") from error
    if done.returncode:
        message = f"`{shlex.join(words)}` failed: {(done.stderr or done.stdout).strip()}"
        raise EvothesisError(message, hint="mend the cause, and run the same again")
    return done.stdout


def running(*words: str) -> Step:
    """Run a program."""
    return Step(f"run    {shlex.join(words)}", partial(command, *words))


class Root(NamedTuple):
    """Where the machine's files are: `/`, or a folder in which a test or an image is made."""

    path: Path

    def of(self, path: Path | str) -> Path:
        """Where a file of the machine really lies."""
        return self.path / str(path).lstrip("/")

    @property
    def is_machine(self) -> bool:
        """Whether it is the running machine, whose services can be started."""
        return self.path == Path("/")

    def options(self) -> list[str]:
        """What systemd's programs are told."""
        return [] if self.is_machine else [f"--root={self.path}"]

    def write(self, path: Path, text: str, *, mode: int = 0o644, group: str = "root") -> Iterator[Step]:
        """Write a file, when it has another content; its mode is set either way, before the content is there."""
        real = self.of(path)
        has_content = real.exists() and os.access(real, os.R_OK) and real.read_text(encoding="utf-8") == text
        if not has_content or real.stat().st_mode & 0o777 != mode:
            yield Step(f"write  {path} (mode {mode:04o}, group {group})", lambda: self._write(real, text, mode, group))

    def remove(self, path: Path) -> Iterator[Step]:
        """Remove a file, when it is there."""
        if self.of(path).exists():
            yield Step(f"remove {path}", self.of(path).unlink)

    def _write(self, real: Path, text: str, mode: int, group: str) -> None:
        real.parent.mkdir(parents=True, exist_ok=True)
        unfinished = real.with_name(f".{real.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            os.fchown(file.fileno(), -1, self._group(group))
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(real)

    def _group(self, name: str) -> int:
        """The group's number on the machine that is made."""
        if self.is_machine:
            return grp.getgrnam(name).gr_gid
        groups = self.of("/etc/group").read_text(encoding="utf-8") if self.of("/etc/group").exists() else ""
        numbers = {line.split(":")[0]: int(line.split(":")[2]) for line in groups.splitlines() if line.count(":") > 1}
        return numbers.get(name, os.getegid())

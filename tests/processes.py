"""Processes and ports, as the kernel tells them: no process is looked up by a name that others may have."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CPU_OF_PROCESS = 2  # as clock_getcpuclockid(3) makes the clock of a process, which the kernel keeps for it
PORTS = range(20_000, 32_000)  # below those that the kernel gives to outgoing connections


def working_in(folder: Path) -> dict[int, str]:
    """Every process whose working folder lies in `folder`, with its title, whoever its parent is now."""
    found = {}
    for process in _all():
        with suppress(OSError):  # it ended meanwhile, or belongs to another user
            if (process / "cwd").readlink().is_relative_to(folder):
                found[int(process.name)] = _title(process)
    return found


def children(parent: int) -> dict[int, str]:
    """The children of a process, with their titles."""
    found = {}
    for process in _all():
        with suppress(OSError):
            if parent_of(int(process.name)) == parent:
                found[int(process.name)] = _title(process)
    return found


def in_session(leader: int) -> dict[int, str]:
    """Every process of the session that a process has begun, with its title, whoever its parent is now."""
    found = {}
    for process in _all():
        with suppress(OSError):
            if _status(int(process.name))[3] == str(leader):
                found[int(process.name)] = _title(process)
    return found


def with_argument(argument: str) -> dict[int, str]:
    """Every process that was started with an argument, with its title."""
    found = {}
    for process in _all():
        with suppress(OSError):
            if argument in (title := _title(process)).split():
                found[int(process.name)] = title
    return found


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors, all its threads together, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | CPU_OF_PROCESS)


def parent_of(pid: int) -> int:
    """The id of the parent."""
    return int(_status(pid)[1])


def is_postmaster(title: str) -> bool:
    """Whether a title is that of the process that all of PostgreSQL's descend from."""
    return title.partition(" ")[0].endswith("/postgres")


_UNHEARD = socket.socket()
_UNHEARD.bind(("127.0.0.1", 0))
UNHEARD_PORT: int = _UNHEARD.getsockname()[1]  # of 127.0.0.1; nobody listens on it, nor can anybody else meanwhile


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 on which nobody listens."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def _all() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _status(pid: int) -> list[str]:
    """State, parent, group, session, …: the fields of proc_pid_stat(5) behind the name, which stands in brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _title(process: Path) -> str:
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").strip().decode(errors="replace")

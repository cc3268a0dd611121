"""Machine: what the kernel tells about CPU and memory, by process; and whether anybody else was at work.

A figure is worth something only when the machine did nothing else. Foreign CPU is what all processes but ours used;
kernel threads and interrupts work for us as well and are not counted.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from evothesis.appliance.postgres import binaries

M = TypeVar("M", bound="Measured")

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
KTHREADD = 2  # parent of all kernel threads
FOREIGN_CORES_MAX = 0.15  # of one core; a run during which others took more is repeated
QUIET_SECONDS = 3
REPORTED = (
    "evothesis",
    "aiohttp",
    "msgspec",
    "uvloop",
    "psycopg",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "psycopg2-binary",
    "pydantic",
)


@dataclass
class Process:
    """A process as proc_pid_stat(5) shows it; seconds with those of its ended children."""

    pid: int
    parent: int
    title: str
    cpu_seconds: float
    ended_children_seconds: float


def processes() -> dict[int, Process]:
    """Every process, by id."""
    found = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").strip().decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        fields = rest.split()
        user, system, user_ended, system_ended = map(int, fields[11:15])
        pid = int(entry.name)
        found[pid] = Process(
            pid=pid,
            parent=int(fields[1]),
            title=title or name.partition("(")[2],
            cpu_seconds=(user + system) / TICKS,
            ended_children_seconds=(user_ended + system_ended) / TICKS,
        )
    return found


def family(root: int, among: dict[int, Process]) -> dict[int, Process]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, todo = {}, [root]
    while todo:
        pid = todo.pop()
        if pid in among:
            found[pid] = among[pid]
            todo += children.get(pid, [])
    return found


def group(title: str) -> str:
    """The name under which a process is reported."""
    if title.startswith("evothesis: collector"):
        return "collectors"
    if title.startswith("evothesis: "):
        return title.removeprefix("evothesis: ")
    if title.startswith("postgres: evothesis"):
        return "backends"
    if title.startswith("postgres:") or "/postgres " in title:
        return "postgres, background"
    for part, name in (
        ("benchmarks.load", "generator"),
        ("benchmarks.readers", "readers"),
        ("evothesis serve", "serve"),
        ("uvicorn", "workers"),
    ):
        if part in title:
            return name
    # workers that uvicorn spawns
    return "workers" if "multiprocessing" in title else "others"


@dataclass
class Usage:
    """What was used during a stretch of time."""

    seconds: float = 0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    foreign_cores: float = 0
    stolen_cores: float = 0
    load_average: float = 0

    def as_json(self) -> dict[str, Any]:
        """Rounded, for a report."""
        return {
            "cpu_seconds": {name: round(value, 2) for name, value in sorted(self.cpu_seconds.items())},
            "foreign_cores": round(self.foreign_cores, 3),
            "stolen_cores": round(self.stolen_cores, 3),
            "load_average": self.load_average,
        }


class Watch:
    """Measures from its making until `stop`; `ours` names the roots of the processes that belong to the run."""

    def __init__(self, ours: Iterable[int] = ()) -> None:
        """Begin."""
        self._ours = [os.getpid(), *ours]
        self._began = self._look()

    def _look(self) -> tuple[float, dict[int, Process], float, float]:
        line = next(line for line in (PROC / "stat").read_text().splitlines() if line.startswith("cpu "))
        user, nice, system, _idle, _wait, _irq, _softirq, stolen = (int(part) / TICKS for part in line.split()[1:9])
        return time.monotonic(), processes(), user + nice + system, stolen

    def stop(self) -> Usage:
        """What was used since the begin."""
        then, before, busy_before, stolen_before = self._began
        now, after, busy, stolen = self._look()
        usage = Usage(now - then, load_average=os.getloadavg()[0])
        mine: dict[int, Process] = {}
        for root in self._ours:
            mine |= family(root, after)
        kernel = family(KTHREADD, after)
        known = 0.0
        for process in (mine | kernel).values():
            old = before.get(process.pid)
            used = process.cpu_seconds - (old.cpu_seconds if old else 0)
            ended = process.ended_children_seconds - (old.ended_children_seconds if old else 0)
            known += used + ended
            if process.pid in mine:
                name = group(process.title)
                usage.cpu_seconds[name] = usage.cpu_seconds.get(name, 0) + used
                if process.pid == os.getpid():
                    name = "clients"  # which we start and wait for
                usage.cpu_seconds[name] = usage.cpu_seconds.get(name, 0) + ended
        usage.foreign_cores = max(0.0, (busy - busy_before - known) / usage.seconds)
        usage.stolen_cores = (stolen - stolen_before) / usage.seconds
        return usage


class Rate:
    """Events or rows that went through, and what was used for them."""

    events: int
    events_per_second: float
    usage: Usage

    def microseconds(self, *groups: str) -> float:
        """CPU of some processes for each event."""
        return sum(self.usage.cpu_seconds.get(group, 0) for group in groups) / self.events * 1e6

    def as_json(self) -> dict[str, Any]:
        """For a report."""
        return {
            "events": self.events,
            "events_per_second": round(self.events_per_second, 1),
            "microseconds_per_event": {name: round(self.microseconds(name), 2) for name in self.usage.cpu_seconds},
            **self.usage.as_json(),
        }


class Measured(Protocol):
    """A result that knows what was used meanwhile."""

    @property
    def usage(self) -> Usage:
        """Of the stretch in which it was measured."""


class Patience(NamedTuple):
    """How much disturbance is too much, and how often a run is tried again."""

    attempts: int = 3
    foreign_cores_max: float = FOREIGN_CORES_MAX
    wait_seconds: float = 60

    def wait(self) -> None:
        """Return when nobody else is at work, or when that does not happen."""
        deadline = time.monotonic() + self.wait_seconds
        while time.monotonic() < deadline:
            watch = Watch()
            time.sleep(QUIET_SECONDS)
            if watch.stop().foreign_cores < self.foreign_cores_max:
                return

    def accepted(self, measure: Callable[[], M]) -> tuple[M, list[M]]:
        """Measure until nobody disturbed it: that result, and those that were rejected.

        After the last attempt the least disturbed one is taken; its usage says how much it was.
        """
        tried: list[M] = []
        while len(tried) < self.attempts:
            self.wait()
            tried.append(measure())
            if tried[-1].usage.foreign_cores <= self.foreign_cores_max:
                break
        best = min(tried, key=lambda result: result.usage.foreign_cores)
        return best, [result for result in tried if result is not best]


def memory(root: int) -> dict[str, float]:
    """Proportional resident megabytes (PSS) of a process and its descendants, by group."""
    found: dict[str, float] = {}
    for process in family(root, processes()).values():
        try:
            text = (PROC / str(process.pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        name = group(process.title)
        found[name] = found.get(name, 0) + (int(match[1]) / 1024 if match else 0)
    return {name: round(value, 1) for name, value in found.items()}


@dataclass
class Description:
    """What was measured on."""

    at: str
    cpu: str
    cores: int
    memory_gib: int
    system: str
    python: str
    postgresql: str
    versions: dict[str, str]

    @classmethod
    def of_this(cls) -> Self:
        """What the kernel and the installed packages say now."""
        model = re.search(r"^model name\s*:\s*(.+)$", (PROC / "cpuinfo").read_text(), re.MULTILINE)
        total = re.search(r"^MemTotal:\s+(\d+) kB", (PROC / "meminfo").read_text(), re.MULTILINE)
        installed = {}
        for name in REPORTED:
            try:
                installed[name] = version(name)
            except ModuleNotFoundError:
                continue
        return cls(
            at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            cpu=model[1] if model else platform.machine(),
            cores=len(os.sched_getaffinity(0)),
            memory_gib=round(int(total[1]) / 2**20) if total else 0,
            system=f"Linux {'.'.join(platform.release().split('.')[:2])}",
            python=platform.python_version(),
            postgresql=subprocess.check_output([binaries() / "postgres", "--version"], text=True).split()[-1],
            versions=installed,
        )

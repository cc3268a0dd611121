"""Tune: a machine's size in, PostgreSQL's settings and ours out, each with its reason. Pure but for `this_machine`.

One machine holds everything: collectors, the loader, PostgreSQL and, now and then, an export. What the system's page
cache holds is worth more here than what PostgreSQL holds itself, because events are written once and read once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

MEGABYTE = 2**20
GIGABYTE = 2**30
CONNECTIONS = 40  # loader 1, operator's API 4, commands 1 each; the rest is for people


class Machine(NamedTuple):
    """Its memory, its cores, and the size of the disk that holds spool and database."""

    memory_bytes: int
    cores: int
    disk_bytes: int


class Setting(NamedTuple):
    """A setting as it is written, and why it has this value."""

    name: str
    value: str
    reason: str


def this_machine(folder: Path) -> Machine:
    """The machine that this runs on; `folder` lies on the disk."""
    memory = re.search(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    disk = os.statvfs(existing)
    memory_bytes = int(memory[1]) * 1024 if memory else GIGABYTE
    return Machine(memory_bytes, len(os.sched_getaffinity(0)), disk.f_blocks * disk.f_frsize)


def postgresql(machine: Machine) -> list[Setting]:
    """Settings of PostgreSQL 14 to 18."""
    memory, cores = machine.memory_bytes, machine.cores
    wal = _within(machine.disk_bytes // 20, 512 * MEGABYTE, 16 * GIGABYTE)
    return [
        Setting("fsync", "on", "an answered event must survive a power cut"),
        Setting("full_page_writes", "on", "so must the page that was being written"),
        Setting("synchronous_commit", "on", "a load is done when it is on disk: its segment may be removed then"),
        Setting(
            "shared_buffers",
            _size(_within(memory // 8, 64 * MEGABYTE, 8 * GIGABYTE)),
            "an eighth of the memory: new rows and the keys of 72 hours; more would be taken from the page cache",
        ),
        Setting("effective_cache_size", _size(memory // 2), "what the page cache can hold beside all that runs"),
        Setting(
            "work_mem",
            _size(_within(memory // 128, 4 * MEGABYTE, 128 * MEGABYTE)),
            "few queries run at a time; one that sorts a day's events stays in memory",
        ),
        Setting(
            "maintenance_work_mem",
            _size(_within(memory // 16, 32 * MEGABYTE, GIGABYTE)),
            "for vacuum, and for indexes while a backup is restored",
        ),
        Setting("max_connections", str(CONNECTIONS), "the appliance uses six; the rest is for people with psql"),
        Setting("max_wal_size", _size(wal), "a twentieth of the disk: rare checkpoints, few whole pages in the log"),
        Setting("min_wal_size", _size(wal // 4), "files of the log are used again, not made again"),
        Setting("checkpoint_timeout", "15min", "a recovery after a crash stays under a minute or two"),
        Setting("checkpoint_completion_target", "0.9", "checkpoints are spread, so that loads do not wait for one"),
        Setting("wal_compression", "on" if cores > 1 else "off", "whole pages shrink, for a little of one core"),
        Setting("random_page_cost", "1.1", "a disk without moving parts"),
        Setting("effective_io_concurrency", "100", "the same: it answers many reads at a time"),
        Setting("max_worker_processes", str(max(4, cores)), "autovacuum, and a worker for each core at most"),
        Setting("max_parallel_workers", str(cores), "no more than can run"),
        Setting(
            "max_parallel_workers_per_gather",
            str(min(4, cores // 2)),
            "a curious query must leave cores to collectors and loader",
        ),
        Setting("autovacuum_naptime", "20s", "new blocks of events are summarised by autovacuum, for exports to find"),
        Setting("jit", "off", "compiling costs more than any of our queries"),
        Setting("timezone", "'UTC'", "days and hours are those of UTC everywhere"),
        Setting("log_timezone", "'UTC'", "the same in its log"),
    ]


def appliance(machine: Machine) -> list[Setting]:
    """Settings of config.toml, by table and key."""
    cores = machine.cores
    return [
        Setting(
            "server.processes",
            str(cores if cores <= 2 else cores // 2),  # noqa: PLR2004 - two are busy with little else
            "collectors; above two cores half of them are left to the loader and PostgreSQL",
        ),
        Setting(
            "spool.bytes_max",
            str(_within(machine.disk_bytes // 8, GIGABYTE, 64 * GIGABYTE)),
            "an eighth of the disk: how long PostgreSQL may be away before senders are told to come back",
        ),
        Setting(
            "spool.loaded_bytes_max",
            str(_within(machine.disk_bytes // 16, 512 * MEGABYTE, 64 * GIGABYTE)),
            "a sixteenth of the disk: how far back a restored database can be filled up again",
        ),
    ]


def rendered(machine: Machine) -> str:
    """A file for PostgreSQL's conf.d; what belongs into config.toml follows as comments."""
    size = f"{_size(machine.memory_bytes)} of memory, {machine.cores} cores, {_size(machine.disk_bytes)} of disk"
    lines = [
        f"# PostgreSQL for Evothesis, made by `evothesis doctor --tune` for {size}.",
        "# Save it as /etc/postgresql/<version>/main/conf.d/evothesis.conf and restart PostgreSQL.",
    ]
    for name, value, reason in postgresql(machine):
        lines += ["", f"# {reason}", f"{name} = {value}"]
    lines += ["", "# In config.toml:"]
    lines += [f"#   {name} = {value}    # {reason}" for name, value, reason in appliance(machine)]
    return "\n".join(lines) + "\n"


def _within(value: int, lowest: int, highest: int) -> int:
    return max(lowest, min(value, highest))


def _size(size_bytes: int) -> str:
    """In whole megabytes, as PostgreSQL reads it."""
    return f"{size_bytes // MEGABYTE}MB"

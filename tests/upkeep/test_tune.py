"""Tune: machines in, settings out, which a real PostgreSQL understands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from evothesis.appliance.postgres import binaries
from evothesis.configuration import load
from evothesis.upkeep.tune import GIGABYTE, MEGABYTE, Machine, appliance, postgresql, rendered, this_machine
from tests.fix_postgres import DEBIAN

SMALLEST = Machine(512 * MEGABYTE, 1, 10 * GIGABYTE)
SMALL = Machine(2 * GIGABYTE, 2, 40 * GIGABYTE)
MIDDLE = Machine(8 * GIGABYTE, 4, 160 * GIGABYTE)
LARGE = Machine(64 * GIGABYTE, 16, 2_000 * GIGABYTE)
MACHINES = [SMALLEST, SMALL, MIDDLE, LARGE]
SIZES = ("shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size")


def values(machine: Machine) -> dict[str, str]:
    """What is set, by name."""
    return {name: value for name, value, _ in postgresql(machine)}


def megabytes(machine: Machine, name: str) -> int:
    """A size."""
    return int(values(machine)[name].removesuffix("MB"))


def servers() -> list[Path]:
    """Every PostgreSQL on this machine."""
    return [binaries() / "postgres", *sorted(DEBIAN.glob("*/bin/postgres"))]


@pytest.mark.parametrize("machine", MACHINES)
def test_promise(machine: Machine) -> None:
    """Whatever the machine, what was acknowledged is on disk."""
    said = values(machine)

    assert ["on", "on", "on"] == [said[name] for name in ("fsync", "full_page_writes", "synchronous_commit")]


@pytest.mark.parametrize(
    ("machine", "shared_buffers", "processes"), list(zip(MACHINES, [64, 256, 1024, 8192], [1, 2, 2, 8], strict=True))
)
def test_profiles(machine: Machine, shared_buffers: int, processes: int) -> None:
    """An eighth of the memory is PostgreSQL's own; half of many cores is left to it and the loader."""
    assert shared_buffers == megabytes(machine, "shared_buffers")
    assert ("server.processes", str(processes)) == appliance(machine)[0][:2]


@pytest.mark.parametrize("name", SIZES)
def test_larger_machines_have_more(name: str) -> None:
    """No size shrinks when the machine grows."""
    found = [megabytes(machine, name) for machine in MACHINES]

    assert sorted(found) == found


@pytest.mark.parametrize("machine", MACHINES)
def test_memory_suffices(machine: Machine) -> None:
    """PostgreSQL's own memory, and eight queries that sort, leave half of the machine to all the others."""
    own = megabytes(machine, "shared_buffers") + 8 * megabytes(machine, "work_mem")

    assert own * MEGABYTE <= machine.memory_bytes / 2


@pytest.mark.parametrize("machine", MACHINES)
def test_disk_suffices(machine: Machine) -> None:
    """Spool, kept segments and the log of PostgreSQL take less than half of the disk."""
    spool = sum(int(value) for name, value, _ in appliance(machine) if name.startswith("spool."))

    assert spool + megabytes(machine, "max_wal_size") * MEGABYTE <= machine.disk_bytes / 2


@pytest.mark.parametrize("server", servers(), ids=str)
@pytest.mark.parametrize("machine", MACHINES)
def test_accepted(machine: Machine, server: Path, tmp_path: Path) -> None:
    """PostgreSQL knows every setting, takes every value, and reads it as it is meant."""
    (tmp_path / "tuned.conf").write_text(rendered(machine))
    (tmp_path / "PG_VERSION").write_text(f"{server.parent.parent.name}\n")

    command = [str(server), "-C", "max_wal_size", "-D", str(tmp_path), "-c", f"config_file={tmp_path / 'tuned.conf'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (0, f"{megabytes(machine, 'max_wal_size')}\n") == (done.returncode, done.stdout), done.stderr


@pytest.mark.parametrize("machine", MACHINES)
def test_ours_accepted(machine: Machine, tmp_path: Path) -> None:
    """What is proposed for config.toml can be loaded."""
    path = tmp_path / "config.toml"
    path.write_text("".join(f"{name} = {value}\n" for name, value, _ in appliance(machine)))

    assert int(appliance(machine)[1].value) == load(path, {}).spool.bytes_max


def test_every_line_has_a_reason() -> None:
    """A reason stands above each setting, once."""
    lines = rendered(SMALL).splitlines()
    reasons = [lines[number - 1] for number, line in enumerate(lines) if " = " in line and not line.startswith("#")]

    assert [] == [reason for reason in reasons if not reason.startswith("# ")]
    assert len(postgresql(SMALL)) == len(set(reasons))


def test_this_machine(tmp_path: Path) -> None:
    """The machine is measured where the folder lies, or will lie."""
    machine = this_machine(tmp_path / "not" / "yet")

    assert machine.memory_bytes > 100 * MEGABYTE
    assert machine.cores >= 1
    assert machine.disk_bytes == this_machine(tmp_path).disk_bytes

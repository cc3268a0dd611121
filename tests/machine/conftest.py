"""A machine of its own: a bare Debian in a folder, booted by systemd-nspawn; what it is to install lies in its cache.

It has no network but a wire to a place outside (`wire`), so that nothing leaves this machine. Needs root, debootstrap
and systemd-container: `script/test --appliance` sees to it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evothesis import __version__
from tests.appliance import ROOT
from tests.machine.machine import RELEASE, Machine
from tests.machine.operators import Operator
from tests.machine.wire import Wire

PYTHON = "3.11"  # that of RELEASE
NEWER_VERSION = "0.2.0"


class Packages:
    """What packaging/build has made."""

    def __init__(self, folder: Path, python: str = PYTHON) -> None:
        """Build them into a folder."""
        subprocess.run([ROOT / "packaging/build", "--python", python, folder], check=True, stdout=subprocess.DEVNULL)
        (self.deb,) = folder.glob("*.deb")
        (self.pyz,) = folder.glob("*.pyz")

    def newer(self, folder: Path) -> Path:
        """The package of a next version: another number, a line more in a unit, and a migration that does no harm."""
        extract = ["dpkg-deb", "--raw-extract", str(self.deb), str(folder)]
        subprocess.run(extract, check=True)
        package = folder / f"opt/evothesis/lib/python{PYTHON}/site-packages/evothesis"
        for path in (folder / "DEBIAN/control", package / "__init__.py"):
            path.write_text(path.read_text().replace(__version__, NEWER_VERSION, 1))
        with (package / "systemd/evothesis-collector.service").open("a") as unit:
            unit.write("# a line more\n")
        number = len(list((package / "migrations").glob("*.sql"))) + 1
        (package / f"migrations/{number:04d}_newer.sql").write_text("create table newer (id integer);\n")
        path = folder.with_suffix(".deb")
        pack = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(folder), str(path)]
        subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
        return path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The Debian package and the single file of this checkout."""
    return Packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def newer(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of the next version."""
    return packages.newer(tmp_path_factory.mktemp("newer") / "evothesis")


@pytest.fixture(scope="session")
def machine(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that is on, and bare."""
    machine = Machine(tmp_path_factory.mktemp("machine") / RELEASE, packages.deb)
    machine.boot()
    yield machine
    machine.switch_off()


@pytest.fixture
def operator(machine: Machine) -> Operator:
    """Who installs and looks after it."""
    return Operator(machine)


@pytest.fixture(scope="session")
def wire(machine: Machine) -> Iterator[Wire]:
    """A place outside of the machine, from which it can be reached."""
    wire = Wire(machine)
    yield wire
    wire.close()

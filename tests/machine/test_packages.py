"""Packages: the same commit, built again, is the same, byte for byte; each release has one for its Python."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from evothesis import __version__
from tests.machine.conftest import Packages
from tests.machine.machine import DEB, bootstrap
from tests.machine.operators import ANSWERS

PYTHONS = {"noble": "3.12", "trixie": "3.13"}  # of releases that no machine is booted of
INSTALL = f"apt-get --quiet=2 update && apt-get install --yes --no-install-recommends {DEB}"
IMPORT = """
import importlib, pkgutil, evothesis
for module in pkgutil.walk_packages(evothesis.__path__, "evothesis."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

pytestmark = [pytest.mark.machine, pytest.mark.long, pytest.mark.timeout(900)]


def test_reproducible(packages: Packages, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Two builds have equal hashes."""
    again = Packages(tmp_path)

    for one, other in ((packages.deb, again.deb), (packages.pyz, again.pyz)):
        record_property(f"bytes of {one.name}", f"{one.stat().st_size:,}")
        assert hashlib.sha256(one.read_bytes()).hexdigest() == hashlib.sha256(other.read_bytes()).hexdigest()


@pytest.mark.parametrize("release", PYTHONS)
def test_other_release(release: str, tmp_path: Path) -> None:
    """The package for a release's Python is installed there; the command works, and so does all that it imports."""
    python = PYTHONS[release]
    root = tmp_path / release
    bootstrap(root, release)
    shutil.copy(Packages(tmp_path / "packages", python).deb, root / DEB.lstrip("/"))
    (root / "root/acme.toml").write_text(ANSWERS)

    def run(*words: str, network: str = "--private-network") -> subprocess.CompletedProcess[str]:
        options = ["--register=no", "--keep-unit", "--quiet", "--pipe", f"--directory={root}", network]
        command = ["systemd-nspawn", *options, "--setenv=DEBIAN_FRONTEND=noninteractive", *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    installed = run("/bin/sh", "-c", INSTALL, network="--resolv-conf=copy-host")  # this machine's network
    assert 0 == installed.returncode, installed.stdout + installed.stderr
    imported = run("/opt/evothesis/bin/python3", "-c", IMPORT)
    version, helped = run("evothesis", "--version"), run("evothesis", "--help")
    doctor = run("evothesis", "doctor", "--format", "json")
    init = run("evothesis", "init", "--answers", "/root/acme.toml", "--dry-run")
    shutil.rmtree(root)

    assert (0, f"evothesis {__version__}\n") == (imported.returncode, version.stdout), imported.stderr
    assert (0, True) == (helped.returncode, "init" in helped.stdout)
    findings = {one["subject"]: one for one in json.loads(doctor.stdout)["findings"]}
    assert (1, "act") == (doctor.returncode, findings["collector"]["state"])  # nothing was set up
    assert f"evothesis {__version__}, Python {python}." in findings["version"]["found"]
    assert (0, True) == (init.returncode, "run    systemctl enable evothesis-" in init.stdout), init.stderr

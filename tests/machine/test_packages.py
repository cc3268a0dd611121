"""Packages: the same commit, built again, is the same, byte for byte; each release has one for its Python."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from evothesis import __version__
from tests.machine.conftest import Packages
from tests.machine.machine import DEB, bootstrap
from tests.machine.operators import ANSWERS

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


@pytest.fixture(scope="module", params=["3.12", "3.13"], ids=["noble", "trixie"])
def python(request: pytest.FixtureRequest) -> str:
    """The Python of a release that no machine is booted of."""
    return str(request.param)


@pytest.fixture(scope="module")
def deb(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for it."""
    return Packages(tmp_path_factory.mktemp("packages"), python).deb


def test_fits_its_python(deb: Path, python: str, tmp_path: Path) -> None:
    """A package depends on the Python that it was built for; each wheel in it is for that one, or for any."""
    fields = dict(
        line.split(": ", 1) for line in _run("dpkg-deb", "--field", str(deb), "Version", "Depends").splitlines()
    )
    _run("dpkg-deb", "--extract", str(deb), str(tmp_path))
    site = tmp_path / f"opt/evothesis/lib/python{python}/site-packages"
    number = python.replace(".", "")
    wheels = {
        path.parent.name: re.findall(r"^Tag: (.*)$", path.read_text(), re.MULTILINE) for path in site.glob("*/WHEEL")
    }
    compiled = {match[1] for path in site.rglob("*.so") if (match := re.search(r"\.cpython-(\d+)-", path.name))}
    link = (tmp_path / "opt/evothesis/bin/python3").readlink()

    assert f"{__version__}+python{python}" == fields["Version"]
    assert f"python{python}" in fields["Depends"].split(", ")
    assert (Path(f"/usr/bin/python{python}"), {number}) == (link, compiled)
    fitting = re.compile(rf"(cp{number}-cp{number}|cp3\d+-abi3|py3-none)-")
    assert {} == {name: tags for name, tags in wheels.items() if not any(fitting.match(tag) for tag in tags)}


@pytest.mark.parametrize("python", ["3.13"], indirect=True, scope="module")
def test_trixie(deb: Path, python: str, tmp_path: Path) -> None:
    """On Debian 13 its package is installed; the command works, and so does all that it imports."""
    root = tmp_path / "trixie"
    bootstrap(root, "trixie")
    shutil.copy(deb, root / DEB.lstrip("/"))
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


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout

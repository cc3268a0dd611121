"""A machine of its own: Debian in a folder, booted by systemd-nspawn, with the package installed for all its users.

It has no network but its loopback. Needs root, debootstrap and systemd-container: `script/test --appliance` sees to it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import processes
from tests.appliance import ROOT, eventually

RELEASE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3,postgresql,util-linux,procps,curl"
LIBRARIES = "opt/evothesis"
BOOT_SECONDS_MAX = 120
PROGRAM = "#!/usr/bin/python3\nfrom evothesis.cli import main\nmain()\n"
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "COLUMNS": "100",
}


class Machine:
    """A machine in a folder; it may be booted and switched off any number of times."""

    def __init__(self, folder: Path) -> None:
        """It is made, and not switched on."""
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(folder)]
        subprocess.run(bootstrap, check=True, capture_output=True)
        self._install()

    def _install(self) -> None:
        """What pipx does, without a network in there: what is locked, and this package."""
        target = ["--target", str(self.folder / LIBRARIES), "--python-version", "3.11", "--python", sys.executable]
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", *target]
        locked = ["--require-hashes", "--only-binary", ":all:", "--requirement", str(ROOT / "requirements.lock")]
        subprocess.run([*uv, *locked], check=True)
        subprocess.run([*uv, "--no-deps", "--no-build-isolation", str(ROOT)], check=True)
        path_file = self.folder / "usr/local/lib/python3.11/dist-packages/evothesis.pth"
        path_file.parent.mkdir(parents=True, exist_ok=True)
        path_file.write_text(f"/{LIBRARIES}\n")
        program = self.folder / "usr/local/bin/evothesis"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    def boot(self) -> None:
        """Switch it on; returns when systemd says that it runs."""
        command = ["systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--quiet"]
        with self.folder.with_suffix(".log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--directory", str(self.folder), "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        eventually(lambda: self.shell("systemctl is-system-running") == "running\n", timeout=BOOT_SECONDS_MAX)

    def switch_off(self) -> None:
        """Stop everything in order."""
        assert self._process, "it is not on"
        self.shell("systemctl poweroff")
        try:
            self._process.wait(BOOT_SECONDS_MAX)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in it, as root."""
        assert self._process, "it is not on"
        (leader,) = processes.children(self._process.pid) or [0]
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return subprocess.run(
            [*enter, *words], env=ENVIRONMENT, input=text, capture_output=True, text=True, check=False
        )

    def shell(self, line: str) -> str:
        """What a line of shell prints; what it complains of is with it."""
        return self.run("/bin/sh", "-c", f"{line} 2>&1").stdout

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.shell(f"systemctl show --value --property={name} {unit}").strip()


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that is on, with the package and nothing else."""
    machine = Machine(tmp_path_factory.mktemp("machine") / "debian")
    machine.boot()
    yield machine
    machine.switch_off()

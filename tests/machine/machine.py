"""Machine: a Debian of its own, made once, booted and switched off any number of times."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

from tests import processes
from tests.appliance import eventually

RELEASE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,util-linux,procps,ca-certificates,curl"
BOOT_SECONDS_MAX = 120
ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "COLUMNS": "100",
    "DEBIAN_FRONTEND": "noninteractive",
}
DEB = "/root/evothesis.deb"


def bootstrap(folder: Path, release: str, *options: str) -> None:
    """Make a bare system of a release of Debian."""
    command = ["debootstrap", "--variant=minbase", *options, release, str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Machine:
    """A machine in a folder."""

    def __init__(self, folder: Path, deb: Path) -> None:
        """It is made, and not switched on; `deb` is in /root, and what it wants in apt's cache."""
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        bootstrap(folder, RELEASE, f"--include={PACKAGES}")
        shutil.copy(deb, self.path(DEB))
        # a network of its own is what it has not: now, from outside, is the time to download
        shutil.copy("/etc/resolv.conf", self.path("/etc/resolv.conf"))
        for words in (["update"], ["install", "--yes", "--download-only", DEB]):
            command = ["chroot", str(folder), "apt-get", "--quiet=2", *words]
            subprocess.run(command, env=os.environ | ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)

    def path(self, path: str) -> Path:
        """Where a file of the machine lies."""
        return self.folder / path.lstrip("/")

    def boot(self) -> None:
        """Switch it on; returns when systemd has started all, and none has failed."""
        command = ["systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--quiet"]
        with self.folder.with_suffix(".log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--directory", str(self.folder), "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        ended = {"running\n", "degraded\n"}
        eventually(lambda: self.shell("systemctl is-system-running") in ended, timeout=BOOT_SECONDS_MAX)
        assert "" == self.shell("systemctl --failed --no-legend")

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

    @property
    def leader(self) -> int:
        """The process that is its first one, as it is numbered here."""
        assert self._process, "it is not on"
        return next(iter(processes.children(self._process.pid)), 0)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program in it, as root."""
        return subprocess.run(
            [*self._enter(), *words], env=ENVIRONMENT, input=text, capture_output=True, text=True, check=False
        )

    def terminal(self, *words: str) -> str:
        """What a program prints on a terminal, colours and all."""
        leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (50, int(ENVIRONMENT["COLUMNS"])))
        environment = ENVIRONMENT | {"TERM": "xterm-256color"}
        said = b""
        with subprocess.Popen(
            [*self._enter(), *words], env=environment, stdin=follower, stdout=follower, stderr=follower
        ):
            os.close(follower)
            with suppress(OSError):  # the program has ended, and its terminal with it
                while part := os.read(leader, 4096):
                    said += part
        os.close(leader)
        return said.decode()

    def shell(self, line: str) -> str:
        """What a line of shell prints; what it complains of is with it."""
        return self.run("/bin/sh", "-c", f"{line} 2>&1").stdout

    def property(self, unit: str, name: str) -> str:
        """What systemd says of a unit."""
        return self.shell(f"systemctl show --value --property={name} {unit}").strip()

"""Wire: a pair of network interfaces from a machine to a place outside of it, and who sends events from there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.appliance import eventually
from tests.machine.machine import Machine

INSIDE, OUTSIDE = "198.18.0.2", "198.18.0.1"  # of the block for tests of networks, RFC 2544
SENDER = Path(__file__).parent / "sender.py"
CERTIFICATE = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"


class Sent:
    """How many events were taken, and what became of others."""

    taken: int
    others: dict[str, int]


class Wire:
    """A process that does nothing keeps the place; the interfaces go with it, or with the machine."""

    def __init__(self, machine: Machine) -> None:
        """Lay it."""
        self._machine = machine
        place = ["unshare", "--net", "sleep", "infinity"]
        self._place = subprocess.Popen(place)
        network = Path(f"/proc/{self._place.pid}/ns/net")
        eventually(lambda: network.readlink() != Path("/proc/self/ns/net").readlink())
        self.lay()

    def lay(self) -> None:
        """Connect the place with the machine that is on now."""
        here, there = self._place.pid, self._machine.leader
        _run("ip", "link", "add", "evo-outside", "type", "veth", "peer", "name", "evo-inside")
        for name, pid, address in (("evo-outside", here, OUTSIDE), ("evo-inside", there, INSIDE)):
            _run("ip", "link", "set", name, "netns", str(pid))
            inside = ("nsenter", f"--target={pid}", "--net", "ip")
            _run(*inside, "address", "add", f"{address}/30", "dev", name)
            _run(*inside, "link", "set", name, "up")

    @contextmanager
    def sending(self) -> Iterator[Sent]:
        """Send from outside meanwhile; what came of it is known afterwards."""
        sent = Sent()
        place = ["nsenter", f"--target={self._place.pid}", "--net"]
        command = [*place, sys.executable, str(SENDER), INSIDE, str(self._machine.path(CERTIFICATE))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield sent
                output, _ = process.communicate(timeout=60)
            finally:
                process.kill()
        sent.taken, sent.others = json.loads(output)

    def send(self) -> Sent:
        """Send a few."""
        with self.sending() as sent:
            pass
        return sent

    def close(self) -> None:
        """Take it away."""
        self._place.kill()
        self._place.wait()


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)

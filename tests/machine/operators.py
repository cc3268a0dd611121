"""Operator: who has root on the machine, a terminal, and the token."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from evothesis import credential
from tests.appliance import eventually
from tests.machine.machine import DEB, Machine
from tests.machine.sender import HOST
from tests.machine.wire import CERTIFICATE, INSIDE

ANSWERS = """\
instance = "acme"
host = "collect.example.com"

[[export.destination]]
name = "client"
url = "file:/srv/events"
"""
# certificates are Caddy's own, as with `tls internal` for each site: nobody who gives others can see this machine
CADDYFILE = """\
{
	local_certs
	skip_install_trust
}
import /etc/evothesis/Caddyfile
"""
FILE = Path("/etc/evothesis/secrets/serve/admin.token")
TOKEN = f"cat {FILE} 2>/dev/null || {shlex.join(credential.decrypting(credential.place(FILE)))}"


class Operator:
    """What he does more than once."""

    def __init__(self, machine: Machine) -> None:
        """He is logged in."""
        self._machine = machine

    def put(self, source: Path, place: str) -> None:
        """Copy a program to the machine."""
        shutil.copy(source, self._machine.path(place))
        self._machine.path(place).chmod(0o755)

    def install(self, package: Path | None = None) -> None:
        """Install a package, the one that is there if no other is given."""
        if package:
            self.put(package, DEB)
        done = self._machine.run("apt-get", "install", "--yes", "--allow-downgrades", DEB)
        assert 0 == done.returncode, done.stdout + done.stderr

    def init(self) -> None:
        """Make the machine what the answers say."""
        self._machine.path("/root/acme.toml").write_text(ANSWERS)
        done = self._machine.run("evothesis", "init", "--answers", "/root/acme.toml")
        assert 0 == done.returncode, done.stdout + done.stderr

    def open_to_outside(self) -> None:
        """Put Caddy before the collector; the machine finds its own name, and believes its certificate."""
        self._machine.path("/etc/caddy/Caddyfile").write_text(CADDYFILE)
        with self._machine.path("/etc/hosts").open("a") as names:
            names.write(f"{INSIDE} {HOST}\n")
        assert "" == self._machine.shell("systemctl reload caddy")
        eventually(self._machine.path(CERTIFICATE).exists)
        shutil.copy(self._machine.path(CERTIFICATE), self._machine.path("/usr/local/share/ca-certificates/own.crt"))
        assert 0 == self._machine.run("update-ca-certificates").returncode

    def ask(self, path: str, method: str = "GET") -> Any:  # noqa: ANN401 - any JSON value
        """What the operator's API answers, nothing while it does not."""
        authorization = f'--header "Authorization: Bearer $({TOKEN})"'
        said = self._machine.shell(
            f"curl --silent --max-time 10 --request {method} {authorization} 127.0.0.1:8001{path}"
        )
        return json.loads(said or "{}")

    def stored(self) -> int:
        """How many events the operator's API counts; less than none while it cannot tell."""
        return int(self.ask("/events/count").get("total", -1))

    def findings(self, state: str = "act") -> dict[str, str]:
        """What the doctor has found that needs a person, or is in another state."""
        done = self._machine.run("evothesis", "doctor", "--format", "json")
        found = json.loads(done.stdout)["findings"]
        return {one["subject"]: one["found"] for one in found if one["state"] == state}

    def verified(self) -> tuple[bool, int]:
        """Whether the bucket is sound, and how many events are in it."""
        said = json.loads(self._machine.shell("evothesis export verify file:/srv/events --format json"))
        return said["ok"], said["rows"]

    def database(self, query: str) -> str:
        """What PostgreSQL's superuser is told."""
        return self._machine.run("runuser", "-u", "postgres", "--", "psql", "-AtXc", query).stdout

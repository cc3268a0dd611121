"""Screens: a machine as its operator sees it, for the documents.

python -m tests.machine.screens      # as root: writes docs/screens from what the commands print
"""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.appliance import ROOT, eventually
from tests.machine.conftest import Packages
from tests.machine.machine import ENVIRONMENT, Machine
from tests.machine.operators import ANSWERS, Operator
from tests.machine.wire import Wire

FOLDER = ROOT / "docs/screens"
COMMANDS = ("doctor", "usage", "export status")
# a reader's own font: the one that rich names would be fetched from somewhere
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def draw(command: str, printed: str) -> None:
    """Write a picture of a terminal."""
    console = Console(record=True, file=io.StringIO(), width=int(ENVIRONMENT["COLUMNS"]))
    console.print(Text("$ ", style="bold green") + Text(f"evothesis {command}"))
    console.print(Text.from_ansi(printed.replace("\r\n", "\n")))
    name = command.partition(" --")[0].replace(" ", "-")
    text = FONT.sub("", console.export_svg(title="root@collect", unique_id=name))
    (FOLDER / f"{name}.svg").write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def main() -> None:
    """Make a machine, use it, look at it."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        packages = Packages(Path(folder) / "packages")
        machine = Machine(Path(folder) / "machine", packages.deb)
        machine.boot()
        operator, wire = Operator(machine), Wire(machine)
        try:
            operator.install()
            machine.path("/root/acme.toml").write_text(ANSWERS)
            init = "init --answers /root/acme.toml"
            draw(init, machine.terminal("evothesis", *init.split()))
            operator.open_to_outside()
            with wire.sending() as sent:
                machine.shell("sleep 10")
            eventually(lambda: operator.stored() == sent.taken, timeout=60)
            for job in ("export", "backup", "drill"):
                machine.shell(f"systemctl start evothesis-{job}")
            for command in COMMANDS:
                draw(command, machine.terminal("evothesis", *command.split()))
        finally:
            wire.close()
            machine.switch_off()


if __name__ == "__main__":
    main()

"""Units: a configuration in, services, sockets and timers that run at every boot out; and gone again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evothesis.config import Config
from evothesis.errors import EvothesisError
from evothesis.upkeep.setup.resources import resource
from evothesis.upkeep.setup.steps import Root, Step, running

FOLDER = Path("/etc/systemd/system")
PROGRAM = "/usr/local/bin/evothesis"  # as the units say it
HOMES = (Path("/root"), Path("/home"))  # which the units do not see
WRITERS = ("evothesis-export", "evothesis-backup")  # who may write to a destination that is a folder
DROP_IN = """\
# The folders of this machine that are destinations.

[Service]
ReadWritePaths={paths}
"""


def program(found: str | None) -> str:
    """Where the units start the command from. Raises EvothesisError for a place that services cannot reach."""
    if found is None:
        message = "the command evothesis is on no path"
        raise EvothesisError(message, hint="install it with pipx: docs/installing.md")
    path = Path(found).absolute()
    if any(place.is_relative_to(home) for place in (path, path.resolve()) for home in HOMES):
        message = f"{path} lies in a home, which the services of this machine do not see"
        hint = "PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install …, and run that one"
        raise EvothesisError(message, hint=hint)
    return str(path)


def names() -> list[str]:
    """Every unit that there is."""
    return sorted(path.name for path in resource("systemd").iterdir() if path.suffix != ".conf")


def steps(config: Config, root: Root, where: str, folders: list[str]) -> Iterator[Step]:
    """Write what differs, let systemd know, start what is to run."""
    texts = {name: resource(f"systemd/{name}").read_text(encoding="utf-8") for name in names()}
    wanted = [name for name, text in texts.items() if "\n[Install]\n" in text]
    listening = {
        "evothesis-collector.socket": (config.server.host, config.server.port),
        "evothesis-loader.socket": (config.admin.host, config.admin.port),
    }
    changed: list[Step] = []
    sockets: list[str] = []  # that are another one now
    for name, text in texts.items():
        said = _listening(text, *listening[name]) if name in listening else text.replace(PROGRAM, where)
        written = list(root.write(FOLDER / name, said))
        changed += written
        sockets += [name] if written and name in listening else []
    for name in WRITERS if folders else ():
        changed += root.write(_drop_in(name), DROP_IN.format(paths=" ".join(folders)))
    if not changed:
        return
    yield from changed
    if root.is_machine:
        yield running("systemctl", "daemon-reload")
    yield running("systemctl", *root.options(), "enable", *wanted)
    if root.is_machine:
        # first, as a service that uses one is stopped with it; those that stay let nobody be refused
        if sockets:
            yield running("systemctl", "restart", *sockets)
        yield running("systemctl", "restart", *(name for name in wanted if name not in listening))


def removal(root: Root) -> Iterator[Step]:
    """Stop them and take them away."""
    there = [name for name in names() if root.of(FOLDER / name).exists()]
    if there:
        yield running("systemctl", *root.options(), "disable", *(["--now"] if root.is_machine else []), *there)
    for path in [*(FOLDER / name for name in there), *map(_drop_in, WRITERS)]:
        yield from root.remove(path)
    if there and root.is_machine:
        yield running("systemctl", "daemon-reload")


def _drop_in(name: str) -> Path:
    return FOLDER / f"{name}.service.d" / "folders.conf"


def _listening(text: str, host: str, port: int) -> str:
    """A socket unit that listens where the configuration says."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"ListenStream={place}" if line.startswith("ListenStream=") else line for line in text.splitlines()]
    return "\n".join(lines) + "\n"

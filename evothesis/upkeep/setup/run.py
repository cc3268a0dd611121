"""Run: answers in, every step from a bare machine to a running appliance out; and every step back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from evothesis.config import Config
from evothesis.configuration import CREDENTIALS_VARIABLE, load
from evothesis.exporter.manifest import signing_key
from evothesis.upkeep.setup import secrecy, units
from evothesis.upkeep.setup.answers import FOLDER, STATE, Answers
from evothesis.upkeep.setup.postgres import Server
from evothesis.upkeep.setup.render import rendered
from evothesis.upkeep.setup.resources import resource
from evothesis.upkeep.setup.steps import Root, Step, running
from evothesis.upkeep.tune import Machine

CONFIG = FOLDER / "config.toml"
CADDYFILE = FOLDER / "Caddyfile"
LISTS = {"sysusers": Path("/etc/sysusers.d/evothesis.conf"), "tmpfiles": Path("/etc/tmpfiles.d/evothesis.conf")}


def users_and_folders(config: Config, root: Root) -> Iterator[Step]:
    """Users and folders, with their modes; those too that are destinations."""
    texts = {kind: resource(f"systemd/evothesis.{kind}.conf").read_text(encoding="utf-8") for kind in LISTS}
    texts["tmpfiles"] += "".join(f'd "{folder}" 0750 evothesis-export evothesis -\n' for folder in folders(config))
    for kind, path in LISTS.items():
        written = list(root.write(path, texts[kind]))
        yield from written
        if written:
            options = ["--create"] if kind == "tmpfiles" else []
            yield running(f"systemd-{kind}", *options, *root.options(), str(root.of(path)))


def configuration(answers: Answers, root: Root) -> Iterator[Step]:
    """Secrets first, then the configuration that names them, then the reverse proxy's."""
    yield from secrecy.files(answers.secrets, root, encrypts=answers.encrypts)
    text = rendered(answers.document, resource("config.example.toml").read_text(encoding="utf-8"))
    yield from root.write(CONFIG, text, mode=0o640, group="evothesis")
    if answers.config.server.tls_cert:
        return
    port = answers.config.server.port
    caddy = resource("packaging/Caddyfile").read_text(encoding="utf-8")
    caddy = caddy.replace("collect.example.com", answers.host).replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    yield from root.write(CADDYFILE, caddy)


def folders(config: Config) -> list[str]:
    """The folders of this machine that are destinations."""
    return [one.url.removeprefix("file:") for one in config.export.destination if one.url.startswith("file:")]


def signing(config: Config, root: Root) -> Iterator[Step]:
    """The key of the manifests, for the user who signs them, whoever runs the first export."""
    path = root.of(config.export.signing_key_path)
    if not path.exists():
        yield Step(f"make   {config.export.signing_key_path}, which signs manifests", partial(_make_key, path))


def _make_key(path: Path) -> None:
    signing_key(path)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def postgresql(machine: Machine) -> Iterator[Step]:
    """The system's PostgreSQL: it is installed where it is missing; what is made in it is known when it is there."""
    if shutil.which("psql") is None:
        yield running("apt-get", "install", "--yes", "postgresql")
        return
    server = Server()
    yield from server.steps()
    yield from server.tuned(machine)


def read_back(root: Root) -> Config:
    """The configuration that was written, or was there, as root reads it."""
    # files of secrets are named by where they will be: in an image they are handed over as systemd does it
    handed = {} if root.is_machine else {CREDENTIALS_VARIABLE: str(root.of(FOLDER / "secrets/export"))}
    return load(root.of(CONFIG), handed)


def removal(root: Root, *, purge: bool) -> Iterator[Step]:
    """Stop and remove what was installed; configuration, spool, backups and database only with `purge`."""
    yield from units.removal(root)
    for path in LISTS.values():
        yield from root.remove(path)
    for folder in (FOLDER, STATE) if purge else ():
        if root.of(folder).exists():
            yield Step(f"remove {folder} and everything in it", partial(shutil.rmtree, root.of(folder)))
    if purge and root.is_machine and shutil.which("psql"):
        yield from Server().removal()

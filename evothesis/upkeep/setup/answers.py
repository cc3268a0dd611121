"""Answers: what an operator wants in, the configuration of his machine, and apart from it its secrets, out. Pure.

Answers are a configuration of which only what matters is said, `host`, the name under which browsers reach the
collector, and `encrypt_secrets`, whether secrets are encrypted for this machine.
"""

from __future__ import annotations

import copy
import re
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import tomli_w

from evothesis.config import Config, Server
from evothesis.configuration import FILE_SUFFIX, load
from evothesis.errors import ConfigurationError
from evothesis.setting import SECRETS
from evothesis.upkeep.tune import Machine, appliance

FOLDER = Path("/etc/evothesis")
STATE = Path("/var/lib/evothesis")
LOCAL_DATABASE = "postgresql://evothesis@/evothesis?host=/run/postgresql"
SERVED = {"admin", "database"}  # tables whose secrets the loader needs; all that are there go to the commands
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

Document = dict[str, Any]


class Answers(NamedTuple):
    """What is to be written: the configuration, and files of secrets by their path."""

    document: Document
    config: Config  # the same, with its secrets
    secrets: dict[Path, str]
    host: str
    encrypts: bool  # the secrets, for this machine


def understood(said: Document, machine: Machine) -> Answers:
    """Complete what was said with what this machine is; files of secrets are read. Raises ConfigurationError."""
    document = copy.deepcopy(said)
    host = str(document.pop("host", "")).lower()
    if not HOST.fullmatch(host):
        message = f"{host!r} is no host name" if host else "no host name is given for the collector"
        raise ConfigurationError(message, hint='say where browsers send to: host = "collect.example.com"')
    encrypts = document.pop("encrypt_secrets", False)
    if not isinstance(encrypts, bool):
        message = f"encrypt_secrets is {encrypts!r}"
        raise ConfigurationError(message, hint="say encrypt_secrets = true, or leave it out")
    if not document.get("instance"):
        message = "no name is given for this appliance"
        raise ConfigurationError(message, hint='it stands in the bucket and on invoices: instance = "acme"')
    # a reverse proxy on this machine stands before it, and says who asks
    server = document.setdefault("server", {})
    if not server.get("tls_cert"):
        server.setdefault("host", "127.0.0.1")
        server.setdefault("proxies", ["127.0.0.1", "::1"])
        server.setdefault("public_url", f"https://{host}")
    else:
        server.setdefault("public_url", f"https://{host}:{server.get('port', Server().port)}".removesuffix(":443"))
    document.setdefault("spool", {}).setdefault("path", str(STATE / "spool"))
    document.setdefault("database", {}).setdefault("url", LOCAL_DATABASE)
    document.setdefault("export", {}).setdefault("signing_key_path", str(STATE / "export/signing.key"))
    document.setdefault("backup", {}).setdefault("path", str(STATE / "backup"))
    document.setdefault("admin", {})
    if not {"token", "token_file"} & document["admin"].keys():
        document["admin"]["token"] = secrets.token_urlsafe(32)
    for name, value, _ in appliance(machine):
        table, _, key = name.partition(".")
        document[table].setdefault(key, int(value))
    config = _read(document)
    found: dict[Path, str] = {}
    for table, part in document.items():
        _move_secrets(part, table, table, found)
    return Answers(document, config, found, host, encrypts)


def _move_secrets(part: Any, table: str, place: str, found: dict[Path, str]) -> None:  # noqa: ANN401 - any TOML value
    """Put secrets into files of their own, and their names in their place."""
    if isinstance(part, list):
        for number, inner in enumerate(part):
            name = inner.get("name", number) if isinstance(inner, dict) else number
            _move_secrets(inner, table, f"{place}.{name}", found)
    if not isinstance(part, dict):
        return
    for key, value in list(part.items()):
        if isinstance(value, dict | list):
            _move_secrets(value, table, f"{place}.{key}", found)
        elif _is_secret(place, key.removesuffix(FILE_SUFFIX), value):
            name = key.removesuffix(FILE_SUFFIX)
            secret = str(value) if name == key else Path(value).read_text(encoding="utf-8").rstrip("\r\n")
            for folder in ("serve", "export") if table in SERVED else ("export",):
                found[FOLDER / "secrets" / folder / f"{place}.{name}"] = secret
            del part[key]
            part[f"{name}{FILE_SUFFIX}"] = str(FOLDER / "secrets/export" / f"{place}.{name}")


def _is_secret(place: str, name: str, value: object) -> bool:
    has_password = bool(re.search(r"://[^/@]*:[^@]*@|password\s*=", str(value)))
    return bool(value) and (name in SECRETS or (f"{place}.{name}" == "database.url" and has_password))


def _read(document: Document) -> Config:
    """As a configuration, so that what is wrong is known before anything is changed."""
    with NamedTemporaryFile(suffix=".toml") as file:  # mode 0600
        file.write(tomli_w.dumps(document).encode())
        file.flush()
        try:
            return load(Path(file.name), {})
        except ConfigurationError as error:
            message = f"the answers are wrong: {str(error).partition(': ')[2]}"
            raise ConfigurationError(message, hint=error.hint) from error

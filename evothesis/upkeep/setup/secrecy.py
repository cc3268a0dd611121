"""Secrecy: secrets in, their files out: as plain text that is root's alone, or encrypted for this machine.

Units find both: in each folder of plain text what an operator put there, beside it what was encrypted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from evothesis import credential
from evothesis.errors import EvothesisError
from evothesis.sealed import is_sealed
from evothesis.upkeep.setup.answers import FOLDER
from evothesis.upkeep.setup.steps import Root, Step

FOLDERS = (FOLDER / "secrets/serve", FOLDER / "secrets/export")


def files(secrets: Mapping[Path, str], root: Root, *, encrypts: bool) -> Iterator[Step]:
    """Write them; encrypted ones were never on the disk as plain text."""
    for path, secret in secrets.items():
        if encrypts:
            yield Step(_said(path), partial(_encrypt, path, secret + "\n", root))
        else:
            yield from root.write(path, secret + "\n", mode=0o600)


def encryption(root: Root) -> Iterator[Step]:
    """Encrypt what lies there as plain text, and remove that."""
    for folder in FOLDERS:
        real = root.of(folder)
        for file in sorted(real.iterdir()) if real.exists() else ():
            path = folder / file.name
            if is_sealed(file.read_bytes()):
                continue  # age has
            yield Step(f"{_said(path)}, remove {path}", partial(_replace, path, root))


def _said(path: Path) -> str:
    return f"write  {credential.place(path)} (encrypted for this machine, mode 0600)"


def _encrypt(path: Path, secret: str, root: Root) -> None:
    place = credential.place(path)
    for step in root.write(place, credential.encrypt(secret, place), mode=0o600):
        step.do()
    if credential.decrypt(root.of(place)) != secret:
        message = f"{place} does not come back as it was"
        raise EvothesisError(message, hint="leave secrets as plain text, and report it")


def _replace(path: Path, root: Root) -> None:
    plain = root.of(path)
    _encrypt(path, plain.read_text(encoding="utf-8"), root)
    plain.unlink()

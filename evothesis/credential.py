"""Credential: a secret in, a file that is of use on this machine alone out; and back. systemd-creds(1) does it.

The key is that of this machine: in its TPM2 chip and on its disk where there is a chip, on its disk alone where there
is none. The files lie beside the folder of plain text, as /etc/credstore.encrypted lies beside /etc/credstore.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from evothesis.errors import EvothesisError

SUFFIX = ".encrypted"  # of the folder


def place(path: Path) -> Path:
    """Where the secret of a file lies encrypted."""
    return path.parent.parent / (path.parent.name + SUFFIX) / path.name


def read(path: Path) -> bytes:
    """A secret, as plain text or encrypted, which only root can. Raises OSError, EvothesisError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not place(path).exists():
            raise
        return decrypt(place(path)).encode()


def encrypt(secret: str, path: Path) -> str:
    """The text of the file `path`, which is of no use under another name. Raises EvothesisError."""
    # not bound to how the machine was booted: an update of its firmware must not take a bucket's key away
    return _run(["systemd-creds", "encrypt", "--tpm2-pcrs=", f"--name={_name(path)}", "-", "-"], text=secret)


def decrypt(path: Path) -> str:
    """The secret of such a file, for root. Raises EvothesisError."""
    return _run(decrypting(path))


def decrypting(path: Path) -> list[str]:
    """The command that prints it."""
    return ["systemd-creds", "decrypt", f"--name={_name(path)}", str(path), "-"]


def _name(path: Path) -> str:
    """As LoadCredentialEncrypted= names it in the units, which is given the whole folder under its own name."""
    return f"{path.parent.name}_{path.name}"


def _run(command: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"cannot run systemd-creds: {error.strerror}"
        raise EvothesisError(message, hint="it comes with systemd, 250 or newer") from error
    if done.returncode:
        message = f"`{shlex.join(command)}` failed: {done.stderr.strip()}"
        hint = "a secret of another machine cannot be read here: write it anew, as plain text, beside that folder"
        raise EvothesisError(message, hint=hint)
    return done.stdout

"""Manifest: delivered files in, the signed list that readers trust out. Pure but for the key's file.

Canonical bytes: JSON with sorted keys, no spaces, UTF-8. The signature is Ed25519 (RFC 8032) over the canonical bytes
of everything but the signature; `previous_sha256` is the digest of the manifest before, as it lies in the bucket.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from evothesis.disk import sync_folder
from evothesis.errors import ConfigurationError

VERSION = 1
LATEST = "latest.json"


def key_of(sequence: int) -> str:
    """Where a manifest lies below the prefix."""
    return f"manifests/{sequence:08d}.json"


def canonical(document: dict[str, Any]) -> bytes:
    """The bytes that are signed and hashed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(document: dict[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The manifest's bytes: `document` with the public key and the signature."""
    document = {**document, "public_key": public_key(key)}
    signature = key.sign(canonical(document))
    return canonical({**document, "signature": base64.b64encode(signature).decode()})


def public_key(key: Ed25519PrivateKey) -> str:
    """The public half of a key as manifests name it."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def is_authentic(document: dict[str, Any]) -> bool:
    """Whether the signature is that of the key which the manifest names."""
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(document["public_key"]))
        unsigned = {name: value for name, value in document.items() if name != "signature"}
        public.verify(base64.b64decode(document["signature"]), canonical(unsigned))
    except (InvalidSignature, KeyError, TypeError, ValueError):
        return False
    return True


def hash_key(key: Ed25519PrivateKey) -> bytes:
    """What columns are hashed with: as secret and as lasting as the key, which it does not tell (RFC 5869)."""
    secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return HKDF(SHA256(), length=32, salt=None, info=b"evothesis: hashed columns").derive(secret)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The instance's key; made when there is none yet. Raises ConfigurationError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return _make(path)
    except (OSError, ValueError) as error:
        message = f"cannot read the signing key {path}: {error}"
        raise ConfigurationError(message, hint="bring the file back from a backup, or name another one") from error
    if not isinstance(key, Ed25519PrivateKey):
        message = f"{path} is not an Ed25519 key"
        raise ConfigurationError(message, hint="name another file in export.signing_key_path")
    return key


def _make(path: Path) -> Ed25519PrivateKey:
    """A new key, under its name only when it is whole: half of one would stop every later export."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:  # mode 0600
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileExistsError):  # another export was quicker: its key is the one
            os.link(file.name, path)
    sync_folder(path.parent)
    return signing_key(path)

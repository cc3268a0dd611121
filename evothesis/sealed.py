"""Sealed: a secret that age has encrypted in, the secret out.

So a secret may lie where others see it, in a repository or a backup; only the private key has to be kept apart.
"""

from __future__ import annotations

from pathlib import Path

from evothesis import credential
from evothesis.errors import ConfigurationError
from evothesis.setting import Table

_BEGINNINGS = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")  # C2SP.org/age: as bytes, as text


class Secrets(Table, frozen=True, kw_only=True):
    """What encrypted secrets are opened with."""

    identity_path: str = ""


def is_sealed(content: bytes) -> bool:
    """Whether this is what age has written."""
    return content.startswith(_BEGINNINGS)


def opened(content: bytes, identity_path: str, blamed: str) -> bytes:
    """The secret, by a private key in a file as age-keygen writes it, which may hold several.

    Raises ConfigurationError, whose message begins with what is `blamed`.
    """
    import pyrage  # type: ignore[import-untyped]  # it has no stubs

    if not identity_path:
        message = f"{blamed}: it is encrypted with age, and no private key is named"
        raise ConfigurationError(message, hint="name its file: identity_path in [secrets]")
    try:
        lines = credential.read(Path(identity_path)).decode().splitlines()
        keys = [pyrage.x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")]
    except (OSError, ValueError, pyrage.IdentityError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        message = f"{blamed}: the private key in {identity_path} cannot be read: {reason}"
        raise ConfigurationError(message, hint="correct identity_path, or let this user read the file") from error
    try:
        return bytes(pyrage.decrypt(content, keys))
    except pyrage.DecryptError as error:
        known = " or ".join(str(key.to_public()) for key in keys)
        hint = (
            f"encrypt it again, for {known}" if keys else f"let age-keygen make a private key; {identity_path} has none"
        )
        message = f"{blamed}: {error}"
        raise ConfigurationError(message, hint=hint) from error

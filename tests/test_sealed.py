"""Sealed: secrets that age has encrypted are read like others, with the private key of a file of its own."""

from __future__ import annotations

import traceback
from pathlib import Path

import pyrage  # type: ignore[import-untyped]  # it has no stubs
import pytest

from evothesis.errors import ConfigurationError
from tests.fix_configuration import File

SECRET = "correct-horse-battery"
IDENTITY = pyrage.x25519.Identity.generate()


class Vault:
    """A folder with a private key, and with secrets that are encrypted for it or for another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "identity.txt"
        # as age-keygen writes it, behind one that was used before
        older = pyrage.x25519.Identity.generate()
        self.key.write_text(f"# public key: {IDENTITY.to_public()}\n{older}\n{IDENTITY}\n")

    def seal(self, name: str, *, armored: bool = False, key: object = IDENTITY, secret: str = f"{SECRET}\n") -> Path:
        """Encrypt a secret into a file."""
        recipient = key.to_public()  # type: ignore[attr-defined] # pyrage has no stubs
        (self.folder / name).write_bytes(pyrage.encrypt(secret.encode(), [recipient], armored=armored))
        return self.folder / name


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A folder of encrypted secrets."""
    return Vault(tmp_path)


@pytest.mark.parametrize("armored", [False, True], ids=["bytes", "text"])
def test_sealed_files(file: File, vault: Vault, armored: bool) -> None:  # noqa: FBT001 - of a test
    """A secret's file may be one of age, as bytes or as text, named by the file or by the environment."""
    sealed = vault.seal("sealed", armored=armored)
    text = f"[secrets]\nidentity_path = '{vault.key}'\n[admin]\ntoken_file = '{sealed}'\n"
    text += f"[[export.destination]]\nsecret_access_key_file = '{sealed}'"

    config = file.load(text, {"EVOTHESIS_DATABASE_URL_FILE": str(sealed)})

    found = (config.admin.token, config.export.destination[0].secret_access_key, config.database.url)
    assert (SECRET, SECRET, SECRET) == found


def test_key_of_the_environment(file: File, vault: Vault) -> None:
    """The private key can be named by the environment alone; it wins over the file."""
    variables = {
        "EVOTHESIS_SECRETS_IDENTITY_PATH": str(vault.key),
        "EVOTHESIS_ADMIN_TOKEN_FILE": str(vault.seal("sealed")),
    }

    assert SECRET == file.load("[secrets]\nidentity_path = '/nowhere'", variables).admin.token


def test_handed_over(file: File, vault: Vault) -> None:
    """Systemd may hand over both, the secret and the private key, whose own files the process may not read."""
    handed = vault.folder / "credentials"
    handed.mkdir()
    vault.seal("secret").rename(handed / "export_secret")
    vault.key.rename(handed / "export_identity.txt")
    text = "[secrets]\nidentity_path = '/etc/evothesis/secrets/export/identity.txt'\n"
    text += "[admin]\ntoken_file = '/etc/evothesis/secrets/export/secret'"

    assert SECRET == file.load(text, {"CREDENTIALS_DIRECTORY": str(handed)}).admin.token


def error(file: File, vault: Vault, sealed: Path) -> tuple[str, str]:
    """What the configuration fails with, without the folder's name."""
    message, hint = file.error(f"[secrets]\nidentity_path = '{vault.key}'\n[admin]\ntoken_file = '{sealed}'")
    return message.replace(f"{vault.folder}/", ""), str(hint).replace(f"{vault.folder}/", "")


def test_no_key_is_named(file: File, vault: Vault) -> None:
    """Without a private key the error names the secret, the setting and what is missing."""
    message, hint = file.error(f"[admin]\ntoken_file = '{vault.seal('sealed')}'")

    assert message.startswith("config.toml:2: cannot decrypt ")
    assert message.endswith("/sealed, which token_file names: it is encrypted with age, and no private key is named")
    assert "name its file: identity_path in [secrets]" == hint


def test_another_key(file: File, vault: Vault) -> None:
    """A secret for somebody else: the error says for whom it has to be encrypted."""
    sealed = vault.seal("sealed", key=pyrage.x25519.Identity.generate())

    message, hint = error(file, vault, sealed)

    assert "config.toml:4: cannot decrypt sealed, which token_file names: No matching keys found" == message
    assert hint.endswith(f" or {IDENTITY.to_public()}")


def test_damaged(file: File, vault: Vault) -> None:
    """A secret that was changed is not taken for one."""
    sealed = vault.seal("sealed")
    sealed.write_bytes(sealed.read_bytes()[:-3])

    assert (
        "config.toml:4: cannot decrypt sealed, which token_file names: decryption error"
        == error(file, vault, sealed)[0]
    )


@pytest.mark.parametrize(
    ("content", "reason", "hint"),
    [
        (None, "cannot be read: No such file or directory", "correct identity_path"),
        ("AGE-SECRET-KEY-1NONSENSE", "cannot be read: invalid Bech32", "correct identity_path"),
        ("# nothing", "No matching keys found", "let age-keygen make a private key; identity.txt has none"),
    ],
    ids=["not there", "no key", "empty"],
)
def test_unusable_key(file: File, vault: Vault, content: str | None, reason: str, hint: str) -> None:
    """A private key that cannot be used is named, and what to do about it."""
    vault.key.unlink()
    if content is not None:
        vault.key.write_text(content)

    message, found = error(file, vault, vault.seal("sealed"))

    assert message.startswith("config.toml:4: cannot decrypt sealed, which token_file names: ")
    assert reason in message
    assert found.startswith(hint)


def test_no_secret_in_errors(file: File, vault: Vault) -> None:
    """Neither the private key nor what it opened stands in an error that follows."""
    sealed = vault.seal("sealed", secret=f"{SECRET} is no address")
    text = f"[secrets]\nidentity_path = '{vault.key}'\n[[export.destination]]\nurl_file = '{sealed}'"

    with pytest.raises(ConfigurationError) as caught:
        file.load(text)

    said = "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)
    assert [] == [secret for secret in (SECRET, str(IDENTITY)) if secret in said]


def test_plain_secrets_need_no_key(file: File, vault: Vault) -> None:
    """A private key that is not there disturbs nobody whose secrets are plain files."""
    plain = vault.folder / "plain"
    plain.write_text(f"{SECRET}\n")

    config = file.load(f"[secrets]\nidentity_path = '/nowhere'\n[admin]\ntoken_file = '{plain}'")

    assert (SECRET, "/nowhere") == (config.admin.token, config.secrets.identity_path)

"""Encrypted secrets: files that are of use on this machine alone, read by root's commands; nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyrage  # type: ignore[import-untyped]  # it has no stubs
import pytest

from evothesis import credential
from evothesis.config import Config
from evothesis.configuration import load
from evothesis.errors import ConfigurationError, EvothesisError
from evothesis.upkeep import machine
from evothesis.upkeep.finding import State
from evothesis.upkeep.setup import secrecy
from evothesis.upkeep.setup.answers import understood
from evothesis.upkeep.setup.steps import Root
from evothesis.upkeep.tune import GIGABYTE, Machine
from tests.appliance import ROOT
from tests.upkeep.test_setup import Image

ON_DISK = ROOT / ".venv/.cache"
SECRET = "a secret of the bucket"
TOKEN = "a secret of the API"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The key of another machine than this one; systemd refuses one in memory, where `tmp_path` may be."""
    ON_DISK.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=ON_DISK) as folder:
        path = Path(folder) / "key"
        monkeypatch.setenv("SYSTEMD_CREDENTIAL_SECRET", str(path))
        yield path


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A machine with two secrets, one for the loader too."""
    root = Root(tmp_path / "machine")
    said = {folder / "admin.token": TOKEN for folder in secrecy.FOLDERS}
    said[secrecy.FOLDERS[1] / "export.destination.client.secret_access_key"] = SECRET
    for step in secrecy.files(said, root, encrypts=False):
        step.do()
    return root


def configuration(root: Root) -> Path:
    """A configuration that names them."""
    export = root.of(secrecy.FOLDERS[1])
    path = root.path / "config.toml"
    path.write_text(
        f"[admin]\ntoken_file = '{export}/admin.token'\n[[export.destination]]\nname = 'client'\n"
        f"secret_access_key_file = '{export}/export.destination.client.secret_access_key'\n"
    )
    return path


def encrypt(root: Root) -> list[str]:
    """What is said of it."""
    steps = list(secrecy.encryption(root))
    for step in steps:
        step.do()
    return [step.what for step in steps]


def contents(root: Root) -> dict[str, tuple[str, int]]:
    """Each file of a secret, with its text and its mode."""
    files = [path for path in root.path.rglob("secrets/*/*") if path.is_file()]
    return {str(path.relative_to(root.path)): (path.read_text(), path.stat().st_mode & 0o777) for path in files}


def test_encrypted(root: Root) -> None:
    """No secret is on the disk any more; root's commands read them; again, there is nothing to do."""
    path = configuration(root)
    said = encrypt(root)
    found = contents(root)

    assert [3, 3] == [len(said), len(found)]
    assert {"etc/evothesis/secrets/serve.encrypted/admin.token"} < found.keys()
    assert {0o600} == {mode for _, mode in found.values()}
    assert [] == [name for name, (text, _) in found.items() if SECRET in text or TOKEN in text]
    assert [] == [line for line in said if SECRET in line or TOKEN in line]
    config = load(path, {})
    assert (TOKEN, SECRET) == (config.admin.token, config.export.destination[0].secret_access_key)
    assert [] == encrypt(root)
    assert found == contents(root)


def test_never_plain(tmp_path: Path) -> None:
    """Secrets of answers that ask for it are written encrypted at once; what is said of it tells none."""
    root = Root(tmp_path / "machine")
    path = secrecy.FOLDERS[0] / "admin.token"
    (step,) = secrecy.files({path: TOKEN}, root, encrypts=True)
    step.do()

    assert {"etc/evothesis/secrets/serve.encrypted/admin.token"} == contents(root).keys()
    assert (f"{TOKEN}\n", False) == (credential.decrypt(root.of(credential.place(path))), TOKEN in step.what)


def test_plain_text_counts(root: Root, tmp_path: Path) -> None:
    """A new secret that is put there as plain text counts, for root and for services; it is encrypted when asked to."""
    path = configuration(root)
    encrypt(root)
    name = "export.destination.client.secret_access_key"
    root.of(secrecy.FOLDERS[1] / name).write_text("a new one\n")
    handed = tmp_path / "handed"
    handed.mkdir()
    for prefix, text in (("export.encrypted", SECRET), ("export", "a new one")):
        (handed / f"{prefix}_{name}").write_text(text)

    as_root, as_service = load(path, {}), load(path, {"CREDENTIALS_DIRECTORY": str(handed)})
    findings = list(machine.secrets(Config(), path))
    encrypt(root)
    after = load(path, {})

    assert ["a new one"] * 3 == [one.export.destination[0].secret_access_key for one in (as_root, as_service, after)]
    assert (State.NOTE, "evothesis init --encrypt-secrets") == (findings[-1].state, findings[-1].todo)
    assert name in findings[-1].found
    (well,) = machine.secrets(Config(), path)
    assert (State.OK, True) == (well.state, "2 of them encrypted" in well.found)


def test_another_machine(root: Root, key: Path) -> None:
    """Without this machine's key they cannot be read, nor under another name; it is said what to do."""
    path = configuration(root)
    encrypt(root)
    export = credential.place(root.of(secrecy.FOLDERS[1] / "admin.token"))
    renamed = export.rename(export.with_name("another"))
    with pytest.raises(EvothesisError, match="does not match"):
        credential.decrypt(renamed)
    renamed.rename(export)
    key.unlink()

    with pytest.raises(EvothesisError, match="systemd-creds") as raised:
        load(path, {})

    assert "write it anew" in str(raised.value.hint)


def test_missing_program(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without systemd-creds keeps its secrets as they are."""
    before = contents(root)
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(EvothesisError, match="cannot run systemd-creds"):
        encrypt(root)

    assert before == contents(root)


def test_answered() -> None:
    """The answers may ask for it, with yes or no."""
    said: dict[str, object] = {"instance": "acme", "host": "c.example.com"}
    size = Machine(2 * GIGABYTE, 2, 40 * GIGABYTE)

    found = [understood(said | answer, size) for answer in ({}, {"encrypt_secrets": True})]

    assert [False, True] == [one.encrypts for one in found]
    assert "encrypt_secrets" not in found[1].document
    with pytest.raises(ConfigurationError, match="encrypt_secrets is 'yes'"):
        understood(said | {"encrypt_secrets": "yes"}, size)


@pytest.mark.parametrize("way", ["option", "answer"])
def test_image(tmp_path: Path, way: str) -> None:
    """An image has no key of its own: it is refused before anything is changed."""
    image = Image(tmp_path)
    if way == "answer":
        image.answers.write_text("encrypt_secrets = true\n" + image.answers.read_text())
    done = image.init("--answers", str(image.answers), *(["--encrypt-secrets"] if way == "option" else []))

    assert (2, True, False) == (done.returncode, "has no key of its own" in done.stderr, image.root.exists())


def test_age(root: Root) -> None:
    """What age has encrypted stays as it is; the private key that opens it is a secret like others."""
    identity = pyrage.x25519.Identity.generate()
    export = root.of(secrecy.FOLDERS[1])
    sealed = export / "export.destination.client.secret_access_key"
    sealed.write_bytes(pyrage.encrypt(SECRET.encode(), [identity.to_public()]))
    (export / "identity.txt").write_text(f"{identity}\n")
    path = configuration(root)
    path.write_text(f"[secrets]\nidentity_path = '{export}/identity.txt'\n{path.read_text()}")
    encrypt(root)

    assert [sealed] == [*export.iterdir()]
    assert SECRET == load(path, {}).export.destination[0].secret_access_key

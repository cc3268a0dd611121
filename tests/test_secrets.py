"""Secrets: read from files, by those who need them, handed over by systemd, and told by no error."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest

from evothesis.configuration import load
from evothesis.errors import ConfigurationError
from tests.fix_configuration import File

SECRET = "correct-horse-battery"


def test_secrets_of_others(tmp_path: Path) -> None:
    """Files of secrets that a process has no use for are not opened; the settings are as if they were not there."""
    (tmp_path / "token").write_text("of-this-process")
    path = tmp_path / "config.toml"
    path.write_text(
        f"[admin]\ntoken_file = '{tmp_path / 'token'}'\n[database]\nurl_file = '/nowhere/url'\n"
        "[[export.destination]]\nname = 'one'\nsecret_access_key_file = '/nowhere/secret'\n"
    )

    config = load(path, {}, secrets=["admin"])

    assert "of-this-process" == config.admin.token
    assert ("embedded", "one") == (config.database.url, config.export.destination[0].name)
    assert "" == config.export.destination[0].secret_access_key


@pytest.mark.parametrize("name", ["key", "export_key"], ids=["a file", "a folder"])
def test_credentials(tmp_path: Path, name: str) -> None:
    """What systemd handed over is read instead of the file that it comes from, which the process may not read."""
    (tmp_path / name).write_text("handed over")
    (tmp_path / f"{name}.old").write_text("of before")
    text = "[[export.destination]]\nsecret_access_key_file = '/etc/evothesis/secrets/export/key'"
    (tmp_path / "config.toml").write_text(text)

    config = load(tmp_path / "config.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert "handed over" == config.export.destination[0].secret_access_key


def test_secret_files(file: File, tmp_path: Path) -> None:
    """A `_file` twin is replaced by the content of its file, without the line's end."""
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    text = f"[admin]\ntoken_file = '{secret}'\n[[export.destination]]\nsecret_access_key_file = '{secret}'"

    config = file.load(text, {"EVOTHESIS_DATABASE_URL_FILE": str(secret)})

    found = (config.admin.token, config.export.destination[0].secret_access_key, config.database.url)
    assert (SECRET, SECRET, SECRET) == found


def test_environment_before_secret_file(file: File, tmp_path: Path) -> None:
    """A variable wins over the file's setting whichever of the two is a `_file` twin."""
    (tmp_path / "of_file").write_text("of the file")
    (tmp_path / "of_environment").write_text("of the environment")
    texts = ["[admin]\ntoken = 'of the file'", f"[admin]\ntoken_file = '{tmp_path / 'of_file'}'"]
    variables = {"_TOKEN": "of the environment", "_TOKEN_FILE": str(tmp_path / "of_environment")}

    found = [file.load(text, {f"EVOTHESIS_ADMIN{name}": variables[name]}) for text in texts for name in variables]

    assert ["of the environment"] * 4 == [config.admin.token for config in found]


def test_setting_and_its_file(file: File, tmp_path: Path) -> None:
    """A setting and its `_file` twin in one place contradict each other; the error names both."""
    (tmp_path / "secret").write_text(SECRET)
    twin = str(tmp_path / "secret")

    message, _ = file.error(f"[admin]\ntoken = 'a'\ntoken_file = '{twin}'")
    of_environment, _ = file.error("", {"EVOTHESIS_ADMIN_TOKEN": "a", "EVOTHESIS_ADMIN_TOKEN_FILE": twin})

    assert {"token", "token_file"} <= set(re.findall(r"\w+", message))
    assert {"EVOTHESIS_ADMIN_TOKEN", "EVOTHESIS_ADMIN_TOKEN_FILE"} <= set(re.findall(r"\w+", of_environment))


def test_unreadable_secret(file: File) -> None:
    """A secret's file that cannot be read is named together with the setting that names it."""
    of_file, _ = file.error("[admin]\ntoken_file = '/nowhere/secret'")
    of_environment, _ = file.error("", {"EVOTHESIS_ADMIN_TOKEN_FILE": "/nowhere/secret"})

    assert "token_file" in of_file
    assert "EVOTHESIS_ADMIN_TOKEN_FILE" in of_environment
    assert 2 == sum("/nowhere/secret" in message for message in (of_file, of_environment))


@pytest.mark.parametrize(
    "text",
    [
        f"[admin]\ntoken = '{SECRET}",
        f"[admin]\ntoken = ['{SECRET}']",
        f"[admin]\ntokn = '{SECRET}'",
        f"admin = '{SECRET}'",
        f"[database]\nurl = ['postgresql://user:{SECRET}@127.0.0.1/name']",
        f"[[export.destination]]\nname = 'Not A Name'\nsecret_access_key = '{SECRET}'",
        f"[[export.destination]]\nurl = '{SECRET}'",
    ],
)
def test_no_secret_in_errors(file: File, text: str) -> None:
    """No error repeats a secret, nor does the traceback of what caused it."""
    with pytest.raises(ConfigurationError) as caught:
        file.load(text)

    assert SECRET not in "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)

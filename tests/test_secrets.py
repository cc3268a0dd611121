"""Secrets in files: who reads them, and where systemd hands them over."""

from __future__ import annotations

from pathlib import Path

import pytest

from evothesis.configuration import load


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

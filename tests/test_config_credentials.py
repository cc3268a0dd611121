"""Configuration of access to a bucket: secrets that systemd hands out, and settings that belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_config import SECRET, File


def test_credentials_of_systemd(tmp_path: Path) -> None:
    """A file in $CREDENTIALS_DIRECTORY is found where systemd has put it; elsewhere it is said who sets that."""
    file = File(tmp_path / "config.toml")
    (tmp_path / "bucket").write_text(f"{SECRET}\n")
    text = "[[export.destination]]\nsecret_access_key_file = '$CREDENTIALS_DIRECTORY/bucket'"
    config = file.load(text, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    said, hint = file.error(text)

    assert SECRET == config.export.destination[0].secret_access_key
    assert "config.toml:2: 'secret_access_key_file' is in $CREDENTIALS_DIRECTORY, which is not set" == said
    assert "LoadCredential=" in str(hint)


@pytest.mark.parametrize("setting", ["external_id = 'x'", "kms_key_id = 'x'", "storage_class = 'DEEP_ARCHIVE'"])
def test_refused(tmp_path: Path, setting: str) -> None:
    """What would be ignored, and what could not be read back, is refused with its line."""
    assert "config.toml:2" == File(tmp_path / "config.toml").place(f"[[export.destination]]\n{setting}")

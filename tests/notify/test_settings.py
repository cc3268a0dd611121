"""Settings of [notify]: what cannot work is refused when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from evothesis.config import Config, Notify
from evothesis.configuration import load
from evothesis.errors import ConfigurationError

SECRET = "correct-horse-battery"


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("webhook_url = 'http://hook.example/'", "2: webhook_url"),
        ("webhook_url = 'https://user:password@hook.example/'", "2: "),
        ("webhook_url = 'https://hook.example/'", "1: webhook_secret"),
        (f"webhook_secret = '{SECRET}'", "2: webhook_secret"),
        ("email_to = ['a@example.com']", "1: email_from"),
        ("email_to = ['a@example.com']\nemail_from = 'b@example.com'", "1: smtp_host"),
        ('email_to = ["a@example.com\\n"]', "2: "),
        ('email_from = "a@example.com\\nBcc: b@example.com"', "2: "),
        ("webhook_without = ['usage.hourly']", "2: "),
        ("budget = 'nan'", "2: budget"),
    ],
)
def test_refused(tmp_path: Path, text: str, blamed: str) -> None:
    """What cannot be signed, encrypted or sent is refused, with the line and the setting that is to blame."""
    path = tmp_path / "config.toml"
    path.write_text(f"[notify]\n{text}")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})

    assert str(caught.value).startswith(f"{path}:{blamed}")
    assert SECRET not in str(caught.value)


def test_secrets_are_masked() -> None:
    """A log line that shows the configuration tells neither the secret nor the password."""
    shown = repr(Config(notify=Notify(webhook_secret="whsec_" + "QUJD" * 8, smtp_password=SECRET)))

    assert [] == [word for word in ("QUJD", SECRET) if word in shown]


def test_secret_file(tmp_path: Path) -> None:
    """Secrets can stand in a file, one a line."""
    (tmp_path / "secret").write_text("whsec_" + "QUJD" * 8 + "\nwhsec_" + "REVG" * 8 + "\n")

    config = load(None, {"EVOTHESIS_NOTIFY_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")})

    assert (b"ABC" * 8, b"DEF" * 8) == config.notify.webhook_keys

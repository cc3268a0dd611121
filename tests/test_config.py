"""Configuration: a file and the environment in; settings out, or an error that names the line or the variable."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
import tomli_w

from evothesis.config import Config, Destination, Server
from evothesis.configuration import load
from evothesis.errors import ConfigurationError
from evothesis.setting import Table
from tests.fix_configuration import File

# values that no rule finds: another one of the same kind as the default
TEXTS = {
    "instance": "other",
    "host": "127.0.0.2",
    "url": "postgresql://127.0.0.1/other",
    "currency": "EUR",
    "public_url": "https://collect.example",
    "webhook_url": "https://hook.example/path",
    "webhook_secret": "whsec_" + "QUJD" * 8,
    "email_from": "from@example.com",
}
TABLES = {"destination", "tiers", "add_ons"}
LISTS: dict[str, list[Any]] = {
    "proxies": ["10.0.0.1", "10.1.0.0/16"],
    "origins": ["https://a.example", "http://*.b.example:8080"],
}
LISTS |= {"email_to": ["a@example.com", "b@example.com"], "thresholds": [75, 100]}
LISTS |= {"webhook_without": ["usage.daily", "usage.spike"], "email_without": ["site.discovered"]}


def another(setting: msgspec.structs.FieldInfo) -> object:
    """A value for a setting that is not its default, as it stands in a file."""
    default = setting.default
    if get_origin(setting.type) is Literal or setting.type is bool:
        return next(value for value in get_args(setting.type) or (True, False) if value != default)
    if isinstance(default, int | Decimal):
        return type(default)(default + 1) if isinstance(default, int) else str(default + 1)
    if isinstance(default, tuple):
        return LISTS.get(setting.name, ["voucher", "loyaltyNumber"])
    return TEXTS.get(setting.name, f"/other/{setting.name}")


def everything() -> dict[str, Any]:
    """Every setting but lists of tables, each with another value than its default."""
    document: dict[str, Any] = {}
    for field in msgspec.structs.fields(Config):
        table = msgspec.structs.fields(field.type) if isinstance(field.default, Table) else ()
        found = {setting.name: another(setting) for setting in table if setting.name not in TABLES}
        document[field.name] = found or another(field)
    return document


def test_file_sets_everything(file: File) -> None:
    """Every setting can be given in the file, and none of them is lost."""
    document = everything()
    document["export"]["destination"] = [json.loads(msgspec.json.encode(Destination(name="other")))]
    document["usage"]["tiers"] = [{"above": 10, "rate_per_thousand": "0.005"}]
    document["usage"]["add_ons"] = [{"name": "Compliance", "amount": "1500"}]

    config = file.load(tomli_w.dumps(document))

    assert document == json.loads(msgspec.json.encode(config, enc_hook=str))


def test_environment_sets_everything(file: File) -> None:
    """EVOTHESIS_TABLE_KEY is the same as `key` in [table]; a list is written with commas."""
    document = everything()
    variables = {"EVOTHESIS_INSTANCE": document["instance"]}
    for table, settings in document.items():
        for key, value in settings.items() if isinstance(settings, dict) else ():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            variables[f"EVOTHESIS_{table}_{key}".upper()] = text

    assert file.load(tomli_w.dumps(document)) == file.load("", variables)


def test_environment_wins(file: File) -> None:
    """The environment overrides the file, setting by setting; an empty variable is an empty list."""
    text = "[server]\nhost = '127.0.0.1'\nport = 81\nproxies = ['10.0.0.1']"
    variables = {"EVOTHESIS_SERVER_PORT": "82", "EVOTHESIS_SERVER_PROXIES": "", "PATH": "/bin"}

    assert Server(host="127.0.0.1", port=82) == file.load(text, variables).server


def test_option_before_variable(file: File, tmp_path: Path) -> None:
    """--config is read before $EVOTHESIS_CONFIG, which is read before what is built in."""
    file.path.write_text("instance = 'option'")
    variable = tmp_path / "variable.toml"
    variable.write_text("instance = 'variable'")

    assert "option" == load(file.path, {"EVOTHESIS_CONFIG": str(variable)}).instance
    assert "variable" == load(None, {"EVOTHESIS_CONFIG": str(variable)}).instance


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("\n[server]\nprot = 1", "config.toml:3: unknown key 'prot' in [server]", "did you mean 'port'?"),
        ("[servr]\nport = 1", "config.toml:1: unknown key 'servr'", "did you mean 'server'?"),
        ("instanc = 'a'", "config.toml:1: unknown key 'instanc'", "did you mean 'instance'?"),
        ("[log]\nzzz = 1", "config.toml:2: unknown key 'zzz' in [log]", "known: format"),
    ],
)
def test_unknown_key(file: File, text: str, message: str, hint: str) -> None:
    """An unknown key names its line and the nearest known one."""
    assert (message, hint) == file.error(text)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("EVOTHESIS_SERVER_PROT", "EVOTHESIS_SERVER_PORT"),
        ("EVOTHESIS_SERVR_PORT", "EVOTHESIS_SERVER_PORT"),
        ("EVOTHESIS_INSTANC", "EVOTHESIS_INSTANCE"),
        ("EVOTHESIS_ADMIN_TOKEN_FIL", "EVOTHESIS_ADMIN_TOKEN"),
    ],
)
def test_unknown_variable(file: File, variable: str, meant: str) -> None:
    """An unknown variable is an error that names the nearest known one."""
    message, hint = file.error("", {variable: "1"})

    assert f"unknown variable {variable}" == message
    assert meant in str(hint)


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = 'eighty'",
        "[server]\nport = 80.5",
        "[server]\nport = 65536",
        "[server]\nproxies = ['10.0.0.300']",
        "[server]\ncollect_path = 'collect'",
        "[admin]\ntoken = 3",
        "[admin]\ntoken_file = 3",
        "[secrets]\nidentity_path = 3",
        "[privacy]\nip = 'truncated'",
        "[privacy]\nfields_kept = ['']",
        "[privacy]\nfields_redacted = ['a b']",
        "[limits]\nper_site = -1",
        "[spool]\npath = ''",
        "[export]\ndestination = 3",
        "[export]\ndestination = []",
        "[[export.destination]]\nformats = []",
        "[[export.destination]]\nurl = '/var/bucket'",
        "[[export.destination]]\nexternal_id = 'x'",
        "[[export.destination]]\nkms_key_id = 'x'",
        "[[export.destination]]\nstorage_class = 'DEEP_ARCHIVE'",
        "[[export.destination]]\nlayout = '../{dt}'",
        "[[export.destination]]\nlayout = 'site={site_id}'",
        "[usage]\nrate_per_thousand = 'cheap'",
        "[usage]\ncurrency = 'usd'",
        "# two lines\ninstance = 'Not A Name'",
        "# two lines\nserver = 3",
    ],
)
def test_wrong_value(file: File, text: str) -> None:
    """A value of the wrong kind is an error that names its line."""
    assert "config.toml:2" == file.place(text)


def test_wrong_value_in_second_destination(file: File) -> None:
    """The line is that of the destination that is wrong, not of the first one."""
    first = "[[export.destination]]\nname = 'client'\nregion = 'eu-west-1'\n"

    assert "config.toml:5" == file.place(f"{first}[[export.destination]]\nname = 'Not A Name'")
    assert "config.toml:6" == file.place(f"{first}[[export.destination]]\nname = 'backup'\nregion = 3")


def test_wrong_value_in_environment(file: File) -> None:
    """A wrong value in a variable names the variable, not a line of the file."""
    place = file.place("[server]\nport = 8000", {"EVOTHESIS_SERVER_PORT": "eighty"})

    assert "EVOTHESIS_SERVER_PORT" == place


def test_table_is_no_table(file: File) -> None:
    """A table that is something else is named even when a variable would set something in it."""
    assert "config.toml:1" == file.place("server = 3", {"EVOTHESIS_SERVER_PORT": "80"})


def test_two_destinations_of_one_name(file: File) -> None:
    """Two destinations cannot share a name: what was delivered is remembered under it."""
    destination = "[[export.destination]]\nname = 'a'\n"

    assert file.error(destination * 2)[0].endswith("two destinations are named 'a'")


@pytest.mark.parametrize("text", ["[server\nport = 1", "[server]\nport = 1\nport = 2", "port = \n"])
def test_bad_toml(file: File, text: str) -> None:
    """What is not TOML is refused, with what the parser knows of the place."""
    assert file.error(text)[0].startswith("config.toml is not valid TOML: ")


def test_unreadable(tmp_path: Path) -> None:
    """A file that cannot be read is named, with the reason."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    reasons = {
        "absent.toml": "No such file or directory",
        ".": "Is a directory",
        "binary.toml": "can't decode byte 0xff",
    }

    for name, reason in reasons.items():
        with pytest.raises(ConfigurationError, match=rf"cannot read the configuration .*{reason}") as caught:
            load(tmp_path / name, {})
        assert str(tmp_path / name) in str(caught.value)

"""Reads the configuration: file and environment in, `Config` or an error that names the line out."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_origin

import msgspec

from evothesis.config import Config, Destination, Table
from evothesis.errors import ConfigurationError

SYSTEM_PATH = Path("/etc/evothesis/config.toml")
PREFIX = "EVOTHESIS_"
FILE_SUFFIX = "_file"  # a twin of any string setting: the value is read from the file that it names


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read `path`, else $EVOTHESIS_CONFIG, else the system's file where it exists; then the environment.

    Raises ConfigurationError for a file that cannot be read, an unknown key and a value of the wrong kind.
    """
    chosen = path or (Path(environment["EVOTHESIS_CONFIG"]) if environment.get("EVOTHESIS_CONFIG") else None)
    if chosen is None and SYSTEM_PATH.exists():
        chosen = SYSTEM_PATH
    text = _read(chosen) if chosen else ""
    source = str(chosen) if chosen else "environment"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{source} is not valid TOML: {error}"
        raise ConfigurationError(message) from error
    _check_names(document, Config, source=source, text=text, table_name="")
    _apply_environment(document, environment)
    _read_twins(document)
    try:
        config = msgspec.convert(document, Config, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message = f"{source}{_line_of_error(text, str(error))}: {error}"
        raise ConfigurationError(message, hint="compare with config.example.toml") from error
    _check_destinations(config, source)
    return config


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    message = f"Expected a {'path' if kind is Path else kind.__name__}, got {value!r}"
    raise ValueError(message)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read the configuration {path}: {error}"
        raise ConfigurationError(message, hint="name another file with --config or $EVOTHESIS_CONFIG") from error


def _table_of(field: msgspec.structs.FieldInfo) -> type[Table] | None:
    if get_origin(field.type) is tuple and field.name == "destination":
        return Destination
    return field.type if isinstance(field.type, type) and issubclass(field.type, Table) else None


def _check_names(document: dict[str, Any], table: type[Table], *, source: str, text: str, table_name: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(table)}
    for key, value in document.items():
        field = fields.get(key) or fields.get(key.removesuffix(FILE_SUFFIX))
        if field is None:
            near = difflib.get_close_matches(key, fields, n=1)
            where = f" in [{table_name}]" if table_name else ""
            message = f"{source}{_line(text, key, table_name)}: unknown key {key!r}{where}"
            raise ConfigurationError(
                message, hint=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            )
        inner = _table_of(field)
        if inner is None:
            continue
        name = f"{table_name}.{key}" if table_name else key
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                _check_names(part, inner, source=source, text=text, table_name=name)


def _line(text: str, key: str, table_name: str) -> str:
    """`:12`, the line on which `key` stands in its table; empty when it cannot be told."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line):
            current = header[1]
            if current == f"{table_name}.{key}".lstrip("."):
                return f":{number}"
        elif current == table_name and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return f":{number}"
    return ""


def _line_of_error(text: str, error: str) -> str:
    """The line of the setting that a validation error speaks of: "… - at `$.server.port`"."""
    place = re.search(r"`\$\.([\w.\[\]]+)`", error)
    if not place:
        return ""
    table_name, _, key = re.sub(r"\[[^\]]*\]", "", place[1]).rpartition(".")
    return _line(text, key, table_name)


def _apply_environment(document: dict[str, Any], environment: Mapping[str, str]) -> None:
    """EVOTHESIS_SERVER_PORT=8080 overrides `port` in [server]; a list is given with commas."""
    for field in msgspec.structs.fields(Config):
        table = _table_of(field)
        if table is None:
            if (value := environment.get(PREFIX + field.name.upper())) is not None:
                document[field.name] = value
            continue
        settings = {setting.name: setting for setting in msgspec.structs.fields(table)}
        prefix = f"{PREFIX}{field.name.upper()}_"
        for variable in sorted(name for name in environment if name.startswith(prefix)):
            key = variable.removeprefix(prefix).lower()
            setting = settings.get(key) or settings.get(key.removesuffix(FILE_SUFFIX))
            if setting is None or _table_of(setting):
                near = difflib.get_close_matches(key, settings, n=1)
                message = f"unknown variable {variable}"
                raise ConfigurationError(message, hint=f"did you mean {prefix}{near[0].upper()}?" if near else None)
            value = environment[variable]
            is_list = "tuple" in str(setting.type)
            values = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
            document.setdefault(field.name, {})[key] = values


def _read_twins(document: dict[str, Any]) -> None:
    """Replace each `token_file = PATH` by `token = contents`, without the line's end."""
    for key, value in list(document.items()):
        if isinstance(value, dict):
            _read_twins(value)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    _read_twins(part)
        elif key.endswith(FILE_SUFFIX) and isinstance(value, str):
            document[key.removesuffix(FILE_SUFFIX)] = _read(Path(value)).rstrip("\r\n")
            del document[key]


def _check_destinations(config: Config, source: str) -> None:
    names = [destination.name for destination in config.export.destination]
    if twice := next((name for name in names if names.count(name) > 1), None):
        message = f"{source}: two destinations are named {twice!r}"
        raise ConfigurationError(message, hint="a destination's name keeps its state; give each its own")

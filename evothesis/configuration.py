"""Reads the configuration: file and environment in, `Config` or an error that names the place out.

Every value remembers where it was said (a line of the file, a variable), so that what is wrong with it can be blamed on
the right place.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from evothesis.config import Config, Table
from evothesis.errors import ConfigurationError

SYSTEM_PATH = Path("/etc/evothesis/config.toml")
PREFIX = "EVOTHESIS_"
PATH_VARIABLE = "EVOTHESIS_CONFIG"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"  # systemd.exec(5): what only this service may read
FILE_SUFFIX = "_file"  # a twin of any setting: the value is read from the file that it names

Place = tuple[str | int, ...]  # ("export", "destination", 0, "url")


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read `path`, else $EVOTHESIS_CONFIG, else the system's file where it exists; then the environment.

    Raises ConfigurationError for a file that cannot be read, an unknown name and a value of the wrong kind.
    """
    chosen = path or (Path(environment[PATH_VARIABLE]) if environment.get(PATH_VARIABLE) else None)
    source, text = _source(chosen)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits, and of deep nesting
        message = f"{source} is not valid TOML: {error}"
        raise ConfigurationError(message) from error
    said: dict[Place, str] = {(): source} | {place: f"{source}:{line}" for place, line in _lines(text)}
    _check(document, Config, (), said, environment)
    _override(document, environment, said)
    try:
        return msgspec.convert(document, Config, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        # a check of a whole table begins its message with the setting that it blames
        origin = _origin((*_place(where), reason.partition(":")[0]), said)
        message = f"{origin}: {reason}"
        raise ConfigurationError(message, hint="compare with config.example.toml") from error


def _source(chosen: Path | None) -> tuple[str, str]:
    """The file's name and its text; the system's file need not be there."""
    path = chosen or SYSTEM_PATH
    try:
        return str(path), path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if chosen is None:
            return "the defaults", ""
        message = f"cannot read the configuration {path}: {_reason(error)}"
        raise ConfigurationError(message, hint=f"name another file with --config or ${PATH_VARIABLE}") from error


def _lines(text: str) -> Iterator[tuple[Place, int]]:
    """Where each table and each key stands."""
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([^\]]+?)\s*\]", line):
            table = tuple(part.strip(" \"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield table, number
        elif key := re.match(r"""\s*([\w."'-]+)\s*=""", line):
            yield (*table, *(part.strip("\"'") for part in key[1].split("."))), number


def _check(
    document: dict[str, Any], table: type[Table], place: Place, said: dict[Place, str], environment: Mapping[str, str]
) -> None:
    """Refuse unknown names, and put the contents of a file in the place of the setting that names it."""
    fields = {field.name: field for field in msgspec.structs.fields(table)}
    for key, value in list(document.items()):
        name = key if key in fields else key.removesuffix(FILE_SUFFIX)
        origin = _origin((*place, key), said)
        if name not in fields:
            where = f" in [{'.'.join(part for part in place if isinstance(part, str))}]" if place else ""
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            message = f"{origin}: unknown key {key!r}{where}"
            raise ConfigurationError(message, hint=hint)
        inner = _table_of(fields[name].type)
        if inner and isinstance(value, list):
            for number, part in enumerate(value):
                if isinstance(part, dict):
                    _check(part, inner, (*place, key, number), said, environment)
        elif inner and isinstance(value, dict):
            _check(value, inner, (*place, key), said, environment)
        elif name != key:
            if name in document:
                message = f"{origin}: {key!r} and {name!r} are both set"
                raise ConfigurationError(message, hint="keep one of them")
            document[name] = _contents(value, origin, key, environment)
            said[(*place, name)] = origin
            del document[key]


def _override(document: dict[str, Any], environment: Mapping[str, str], said: dict[Place, str]) -> None:
    """EVOTHESIS_SERVER_PORT=8080 is `port` in [server]; a list is given with commas."""
    known = dict(_variables())
    for variable in sorted(name for name in environment if name.startswith(PREFIX) and name != PATH_VARIABLE):
        name = variable if variable in known else variable.removesuffix(FILE_SUFFIX.upper())
        if name not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            message = f"unknown variable {variable}"
            raise ConfigurationError(message, hint=f"did you mean {near[0]}?" if near else None)
        if name != variable and name in environment:
            message = f"{variable} and {name} are both set"
            raise ConfigurationError(message, hint="keep one of them")
        place, is_list = known[name]
        value = (
            environment[variable]
            if name == variable
            else _contents(environment[variable], variable, variable, environment)
        )
        table = document
        for part in place[:-1]:
            table = table.setdefault(str(part), {})
            if not isinstance(table, dict):
                message = f"{_origin(place[:-1], said)}: {part!r} must be a table"
                raise ConfigurationError(message)
        if not _is_unicode(value):
            message = f"{variable} is not valid UTF-8"
            raise ConfigurationError(message)
        values = [part.strip() for part in value.split(",") if part.strip()] if is_list else value
        table[str(place[-1])] = values
        said[place] = variable


def _is_unicode(text: str) -> bool:
    """Whether none of its bytes was one that os.environ stands for by half a pair."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _variables() -> Iterator[tuple[str, tuple[Place, bool]]]:
    """Every variable, with its setting's place and whether that is a list."""
    for field in msgspec.structs.fields(Config):
        table = _table_of(field.type)
        if table is None:
            yield f"{PREFIX}{field.name.upper()}", ((field.name,), False)
            continue
        for setting in msgspec.structs.fields(table):
            if _table_of(setting.type) is None:
                name = f"{PREFIX}{field.name}_{setting.name}".upper()
                yield name, ((field.name, setting.name), "tuple[" in str(setting.type))


def _table_of(kind: object) -> type[Table] | None:
    """The table that a setting is, or is a list of."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return kind
    inner = next((_table_of(part) for part in get_args(kind) if part is not Ellipsis), None)
    return inner if get_origin(kind) is not None else None


def _contents(value: object, origin: str, key: str, environment: Mapping[str, str]) -> str:
    """What a file holds, without the end of its last line."""
    if not isinstance(value, str):
        message = f"{origin}: {key!r} must be the path of a file"
        raise ConfigurationError(message)
    begins, folder = f"${CREDENTIALS_VARIABLE}/", environment.get(CREDENTIALS_VARIABLE)
    if value.startswith(begins) and not folder:
        message = f"{origin}: {key!r} is in ${CREDENTIALS_VARIABLE}, which is not set"
        raise ConfigurationError(message, hint="systemd sets it for a unit with LoadCredential=; name a file elsewhere")
    try:
        path = Path(folder, value.removeprefix(begins)) if folder and value.startswith(begins) else Path(value)
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:  # also of a name with NUL
        message = f"{origin}: cannot read {value}, which {key} names: {_reason(error)}"
        raise ConfigurationError(message, hint="correct the path, or let this user read the file") from error


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    message = f"Expected a {'path' if kind is Path else kind.__name__}, got {value!r}"
    raise ValueError(message)


def _place(text: str) -> Place:
    """``.export.destination[1].url` `` as a place."""
    return tuple(name or int(number) for name, number in re.findall(r"\.(\w+)|\[(\d+)\]", text))


def _origin(place: Place, said: dict[Place, str]) -> str:
    """Where a setting was said: its own line or variable, else that of what holds it, at last the file."""
    while place not in said:
        place = place[:-1]
    return said[place]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

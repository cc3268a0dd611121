"""Reads the configuration: file and environment in, `Config` or an error that names the place out.

Every value remembers where it was said (a line of the file, a variable), so that what is wrong with it can be blamed on
the right place.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from evothesis import credential
from evothesis.config import Config
from evothesis.errors import ConfigurationError
from evothesis.sealed import is_sealed, opened
from evothesis.setting import SECRETS, Table

SYSTEM_PATH = Path("/etc/evothesis/config.toml")
PREFIX = "EVOTHESIS_"
PATH_VARIABLE = "EVOTHESIS_CONFIG"
FILE_SUFFIX = "_file"  # a twin of any setting: the value is read from the file that it names
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=
IDENTITY_VARIABLE = f"{PREFIX}SECRETS_IDENTITY_PATH"
SECRET_FILES = frozenset(f"{name}{FILE_SUFFIX}" for name in (*SECRETS, "url"))  # a database's URL may hold a password

Place = tuple[str | int, ...]  # ("export", "destination", 0, "url")


def load(path: Path | None, environment: Mapping[str, str], *, secrets: Collection[str] | None = None) -> Config:
    """Read `path`, else $EVOTHESIS_CONFIG, else the system's file where it exists; then the environment.

    `secrets` names the tables whose secrets are read from their files, None stands for all: others may be unreadable.
    Raises ConfigurationError for a file that cannot be read, an unknown name and a value of the wrong kind.
    """
    chosen = path or (Path(environment[PATH_VARIABLE]) if environment.get(PATH_VARIABLE) else None)
    source, text = _source(chosen)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits, and of deep nesting
        message = f"{source} is not valid TOML: {error}"
        raise ConfigurationError(message) from error
    said = {place: f"{source}:{line}" for place, line in _lines(text)}
    handed = environment.get(CREDENTIALS_VARIABLE)
    for name, part in document.items():
        is_read = secrets is None or name in secrets
        if not is_read and isinstance(part, dict) and SECRET_FILES & part.keys():
            document[name] = {}  # what goes with a secret may be wrong without it, and nobody here has a use for it
        else:
            document[name] = _secret_files(part, is_read=is_read, handed=Path(handed) if handed else None)
    identity = _identity(document, environment)
    _check(document, Config, (), said, source, identity)
    _override(document, environment, said, identity)
    try:
        return msgspec.convert(document, Config, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$")
        # a check of a whole table begins its message with the setting that it blames
        origin = _origin((*_place(where), reason.partition(":")[0]), said, source)
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


def _secret_files(part: Any, *, is_read: bool, handed: Path | None) -> Any:  # noqa: ANN401 - any TOML value
    """A table as this process is to read it: the files of secrets where systemd handed them over, or none of them."""
    if isinstance(part, list):
        return [_secret_files(inner, is_read=is_read, handed=handed) for inner in part]
    if not isinstance(part, dict):
        return part
    kept = {name: value for name, value in part.items() if is_read or name not in SECRET_FILES}
    return {
        name: _handed(value, handed)
        if handed and name in SECRET_FILES and isinstance(value, str)
        else _secret_files(value, is_read=is_read, handed=handed)
        for name, value in kept.items()
    }


def _handed(path: str, folder: Path) -> str:
    """The credential that a file became. Of a whole folder systemd joins the folder's id and the file's name by "_"."""
    name = Path(path).name
    found = [file for file in folder.glob("*") if file.name == name or file.name.endswith(f"_{name}")]
    return str(min(found, key=lambda file: len(file.name))) if found else path  # plain text counts, it is the newer one


def _identity(document: dict[str, Any], environment: Mapping[str, str]) -> str:
    """Where the private key for encrypted secrets is: wanted before all others, which it opens."""
    table = document.get("secrets")
    path = environment.get(IDENTITY_VARIABLE) or (table.get("identity_path") if isinstance(table, dict) else None)
    handed = environment.get(CREDENTIALS_VARIABLE)
    if not isinstance(path, str) or not path:
        return ""
    return _handed(path, Path(handed)) if handed else path


def _check(
    document: dict[str, Any], table: type[Table], place: Place, said: dict[Place, str], source: str, identity: str
) -> None:
    """Refuse unknown names, and put the contents of a file in the place of the setting that names it."""
    fields = {field.name: field for field in msgspec.structs.fields(table)}
    for key, value in list(document.items()):
        name = key if key in fields else key.removesuffix(FILE_SUFFIX)
        origin = _origin((*place, key), said, source)
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
                    _check(part, inner, (*place, key, number), said, source, identity)
        elif inner and isinstance(value, dict):
            _check(value, inner, (*place, key), said, source, identity)
        elif name != key:
            if name in document:
                message = f"{origin}: {key!r} and {name!r} are both set"
                raise ConfigurationError(message, hint="keep one of them")
            document[name] = _contents(value, origin, key, identity)
            said[(*place, name)] = origin
            del document[key]


def _override(document: dict[str, Any], environment: Mapping[str, str], said: dict[Place, str], identity: str) -> None:
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
        value = environment[variable]
        if name != variable:
            value = _contents(value, variable, variable, identity)
        table = document
        for part in place[:-1]:
            table = table.setdefault(str(part), {})
            if not isinstance(table, dict):
                message = f"{_origin(place[:-1], said, 'the file')}: {part!r} must be a table"
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


def _contents(value: object, origin: str, key: str, identity: str) -> str:
    """What a file holds, decrypted where age has encrypted it, without the end of its last line."""
    if not isinstance(value, str):
        message = f"{origin}: {key!r} must be the path of a file"
        raise ConfigurationError(message)
    try:
        content = credential.read(Path(value))
        if is_sealed(content):
            content = opened(content, identity, f"{origin}: cannot decrypt {value}, which {key} names")
        return content.decode().rstrip("\r\n")
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


def _origin(place: Place, said: dict[Place, str], source: str) -> str:
    """Where a setting was said: its own line or variable, else that of what holds it."""
    while place:
        if place in said:
            return said[place]
        place = place[:-1]
    return source


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

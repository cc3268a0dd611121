"""Render: a configuration in, the text of a config.toml with a comment behind each line out. Pure.

The comments are those of config.example.toml, which has every setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import tomli_w

HEADER = """\
# Written by `evothesis init`, and yours from now on: it is not written again. Every other setting, with its default,
# stands in config.example.toml. After a change: evothesis doctor, then systemctl restart 'evothesis-*.service'
"""
LINE = re.compile(r"^(?:\[\[?([\w.]+)\]\]?|(\w+) = .*?)(?: # (.*))?$")


def rendered(document: dict[str, Any], example: str) -> str:
    """The file's text."""
    comments = _comments(example)
    order = list(comments)
    tables = sorted(document.items(), key=lambda item: order.index(item[0]))
    return HEADER + "\n" + "\n".join(_lines(dict(tables), "", comments)) + "\n"


def _lines(table: dict[str, Any], place: str, comments: dict[str, str]) -> Iterator[str]:
    inner = {name: value for name, value in table.items() if _is_table(value)}
    for name, value in table.items():
        if name not in inner:
            comment = comments.get(place + name, "")
            values = [_value(part) for part in value] if isinstance(value, list) else []
            line = f"{name} = [{', '.join(values)}]" if isinstance(value, list) else f"{name} = {_value(value)}"
            yield f"{line} # {comment}" if comment else line
    for name, value in inner.items():
        path = f"{place}{name}"
        comment = f" # {comments[path]}" if comments.get(path) else ""
        for part in value if isinstance(value, list) else [value]:
            own = [key for key, setting in part.items() if not _is_table(setting)]
            if own or not part:  # an empty one is a value
                yield from ("", f"{f'[[{path}]]' if isinstance(value, list) else f'[{path}]'}{comment}")
            yield from _lines(part, f"{path}.", comments)


def _value(value: object) -> str:
    return tomli_w.dumps({"_": value}).removeprefix("_ = ").strip()


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))


def _comments(example: str) -> dict[str, str]:
    """By the dotted name of a table or a setting; a comment that stands above a setting is not among them."""
    found: dict[str, str] = {}
    table = ""
    for line in example.splitlines():
        match = LINE.match(line)
        if match and match[1]:
            table = f"{match[1]}."
            found |= {match[1].partition(".")[0]: ""} | {match[1]: match[3] or ""}
        elif match:
            found[table + match[2]] = match[3] or ""
    return found

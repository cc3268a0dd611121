"""Documents: what they say of commands, settings and each other is so.

python -m tests.test_docs            # writes docs/cli.md from what the commands print
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from evothesis.cli import app
from evothesis.config import Config, Destination
from evothesis.configuration import load
from evothesis.setting import Table

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.toml"
CLI = ROOT / "docs/cli.md"
COLUMNS = 80  # what a terminal has when nobody widens it
MARGIN = 2  # that click leaves free; its runner for tests knows of none

INTRODUCTION = """\
# Commands

This page is what `evothesis … --help` prints; after a change, `python -m tests.test_docs` writes it anew.

Every command ends with 0 when it is done; with 1 when it failed and a person is needed; with 2 when the command line or
the configuration is wrong; with 3 when a service could not be reached, so that the same command may work later. Results
go to stdout; errors (`Error: …`, `Try: …`) and the log go to stderr.
"""

FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)>\s]+)>?[^)]*\)")
TYPED = re.compile(r"(?<![\w/.-])evothesis((?: [\w.:/=-]+)+)")  # a command line, up to what is the shell's or a remark
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"EVOTHESIS_[A-Z]+(?:_[A-Z]+)*")
HEADING = re.compile(r"^#{1,6} +(.+?)[ #]*$", re.MULTILINE)


# placeholders of the documents, and what is read before there is a configuration
NO_SETTINGS = {"EVOTHESIS_CONFIG", "EVOTHESIS_TABLE_KEY", "EVOTHESIS_TABLE"}


def commands() -> list[tuple[str, ...]]:
    """Every command as it is typed behind `evothesis`, a group before its members; the first is `evothesis` alone."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - click's classes
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            if not inner.hidden:
                yield from walk(inner, (*words, name))

    return list(walk(typer.main.get_command(app), ()))


def help_of(command: tuple[str, ...]) -> str:
    """What `evothesis COMMAND --help` prints."""
    environment = dict.fromkeys(name for name in os.environ if name.startswith("EVOTHESIS_"))
    environment |= {"COLUMNS": str(COLUMNS), "NO_COLOR": "1"}
    done = CliRunner().invoke(
        app, [*command, "--help"], prog_name="evothesis", terminal_width=COLUMNS - MARGIN, env=environment
    )
    return "\n".join(row.rstrip() for row in done.stdout.strip("\n").splitlines())


def rendered() -> str:
    """The text of docs/cli.md."""
    sections = [
        f"## {' '.join(('evothesis', *command))}\n\n```text\n{help_of(command)}\n```\n" for command in commands()
    ]
    return "\n".join([INTRODUCTION, *sections])


def documents() -> list[Path]:
    """Every document that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(document: Path) -> set[str]:
    """What a link may name behind `#`: headings in lower case, words joined by hyphens, as GitHub makes them."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    names: list[str] = []
    for heading in HEADING.findall(text):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.append(name if name not in names else f"{name}-{names.count(name)}")
    return set(names)


def links(document: Path) -> Iterator[str]:
    """Every link that does not leave the repository."""
    text = CODE.sub("", FENCE.sub("", document.read_text(encoding="utf-8")))
    for link in LINK.findall(text):
        if not re.match(r"[a-z][a-z0-9+.-]*:", link):
            yield link


def leads_somewhere(document: Path, link: str) -> bool:
    """Whether the file and the heading exist."""
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    return target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))


def names(table: type[Table], prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting."""
    for field in msgspec.structs.fields(table):
        if field.name == "destination":
            yield from names(Destination, f"{prefix}destination.")
        elif isinstance(field.type, type) and issubclass(field.type, Table):
            yield from names(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def type_of(name: str) -> Any:  # noqa: ANN401 - an annotation
    """The annotation of a setting."""
    table: Any = Config
    for part in name.split("."):
        fields = {field.name: field.type for field in msgspec.structs.fields(table)}
        table = Destination if part == "destination" else fields[part]
    return table


def choices(annotation: Any) -> set[str]:  # noqa: ANN401 - an annotation
    """The values that it leaves to choose from, also within a list; none where any will do."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {choice for part in get_args(annotation) for choice in choices(part)}


def example_settings() -> list[tuple[str, str]]:
    """The line of each setting in config.example.toml, with the line above it."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return [(above, line) for above, line in pairwise(lines) if re.match(r"\w+ = ", line)]


def names_in(document: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting that stands in a document, also of those that are tables themselves."""
    for name, value in document.items():
        for part in value if name == "destination" else [value]:
            if isinstance(part, dict) and prefix + name not in names(Config):
                yield from names_in(part, f"{prefix}{name}.")
            else:
                yield prefix + name


def code(document: Path) -> str:
    """What a document shows as code, a line for each piece."""
    text = document.read_text(encoding="utf-8")
    blocks = [match[0] for match in FENCE.finditer(text)]
    return "\n".join([*blocks, *(piece.strip("`") for piece in CODE.findall(FENCE.sub("", text)))])


def unknown_word(words: list[str]) -> str:
    """The first word of a command line that `evothesis` would not take; nothing when it would."""
    command: Any = typer.main.get_command(app)
    flags = {"--help": True, "-h": True}  # an option, and whether it stands alone
    is_value = False
    for word in words:
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        flags |= {name: option.is_flag for option in options for name in option.opts}
        inner = getattr(command, "commands", {})
        name, has_value, _ = word.partition("=")
        if is_value:
            is_value = False
        elif word in inner:
            command = inner[word]
        elif name in flags:
            is_value = not flags[name] and not has_value
        elif word.startswith("-") or inner:
            return word
    return ""


def test_commands() -> None:
    """docs/cli.md is what the commands print; `python -m tests.test_docs` writes it."""
    assert rendered() == CLI.read_text(encoding="utf-8")


def test_commands_have_examples() -> None:
    """Every command's help shows how it is typed, with itself in the examples."""
    sections = dict(re.findall(r"^## evothesis(.*?)\n(.*?)(?=^## |\Z)", CLI.read_text(), re.MULTILINE | re.DOTALL))

    without = [
        command
        for command in (" ".join(words) for words in commands()[1:])
        if f"evothesis {command.partition(' ')[0]}" not in sections[f" {command}"].partition("Examples:")[2]
    ]

    assert [] == without


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document: Path) -> None:
    """Every link of a document leads to a file, and a heading, that is there."""
    assert [] == [link for link in links(document) if not leads_somewhere(document, link)]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines(document: Path) -> None:
    """Every command line that a document shows has a command that exists, with options that it has."""
    typed = [match.split() for match in TYPED.findall(code(document))]

    assert [] == [" ".join(words) for words in typed if unknown_word(words)]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_settings(document: Path, tmp_path: Path) -> None:
    """Every piece of configuration that a document shows can be loaded, and every variable is one."""
    text = document.read_text(encoding="utf-8")
    settings = {name.replace(".", "_").upper() for name in names(Config) if ".destination." not in name}
    known = {f"EVOTHESIS_{name}" for name in settings} | NO_SETTINGS

    for piece in TOML.findall(text):
        (tmp_path / "config.toml").write_text(piece, encoding="utf-8")
        load(tmp_path / "config.toml", {})
    assert set() == {name.removesuffix("_FILE") for name in VARIABLE.findall(text)} - known


def test_example_is_the_default() -> None:
    """A copy of config.example.toml changes nothing."""
    assert Config() == load(EXAMPLE, {})


def test_example_is_complete() -> None:
    """config.example.toml names every setting once, in the order of the code, and no other."""
    assert list(names(Config)) == list(names_in(tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))))


def test_example_explains() -> None:
    """Every setting in config.example.toml has a comment, behind it or above it."""
    assert [] == [line for above, line in example_settings() if " # " not in line and not above.startswith("# ")]


def test_example_names_choices() -> None:
    """Where a setting has a choice of values, its comment names every one of them."""
    comments = [line.partition(" # ")[2] for _, line in example_settings()]

    missing = {
        name: choice
        for name, comment in zip(names(Config), comments, strict=True)
        for choice in choices(type_of(name))
        if not re.search(rf"\b{choice}\b", comment)
    }

    assert {} == missing


if __name__ == "__main__":
    CLI.write_text(rendered(), encoding="utf-8")

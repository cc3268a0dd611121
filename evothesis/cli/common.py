"""What every command shares: the configuration option, formats, and how results are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from evothesis import log
from evothesis.config import Config
from evothesis.configuration import load

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="Configuration file; see `evothesis --help`.", show_default=False),
]


DestinationName = Annotated[
    str | None,
    typer.Option("--destination", metavar="NAME", help="One of those in the configuration.", show_default=False),
]


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]


def start(path: Path | None, *, secrets: Collection[str] | None = None) -> Config:
    """The configuration, with logging set up as it says; `secrets` names the tables whose secrets are needed."""
    config = load(path, os.environ, secrets=secrets)
    log.configure(config.log.format)
    return config


def shown(name: str) -> str:
    """A name that a stranger chose, as it may be printed: without control characters, and no markup for rich."""
    return escape("".join(part if part.isprintable() else repr(part)[1:-1] for part in name))


def print_error(message: str, hint: str | None) -> None:
    """What failed, and what to try."""
    print(f"Error: {message}", file=sys.stderr)
    if hint:
        print(f"Try: {hint}", file=sys.stderr)


@contextmanager
def progress(verb: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere; it is told how many files are done, and how many there are."""
    with Progress(
        TextColumn(verb),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        task = bar.add_task("files", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

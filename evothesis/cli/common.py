"""What every command shares: the configuration option, formats, and how results are printed."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from evothesis import log
from evothesis.config import Config
from evothesis.configuration import load

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="Configuration file; see `evothesis --help`.", show_default=False),
]


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


def start(path: Path | None) -> Config:
    """The configuration, with logging set up as it says."""
    config = load(path, os.environ)
    log.configure(config.log.format)
    return config


def shown(name: str) -> str:
    """A name that a stranger chose, as it may be printed: without control characters, and no markup for rich."""
    return escape("".join(part if part.isprintable() else repr(part)[1:-1] for part in name))

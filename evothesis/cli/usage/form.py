"""What the commands of `usage` share: formats, and values as tables and files hold them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

COUNTS = ("events", "billable", "bots", "duplicates", "rejected", "withheld")
TEXTS = ("site_id", "name")  # columns whose values a stranger, or the configuration, chose
MARKED = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'")  # a spreadsheet would calculate it; as in exports


WIDTH_MAX = 1_000  # to measure in; no table is as wide


class UsageFormat(StrEnum):
    """How usage is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def print_csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """RFC 4180; a name that a spreadsheet would take for a formula gets an apostrophe before it, as in exports."""
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\r\n")
    writer.writeheader()
    for line in lines:
        marked = {name: f"'{line[name]}" for name in TEXTS if str(line.get(name) or "").startswith(MARKED)}
        writer.writerow({**line, **marked})


def new_table(title: str, first: str, *numbers: str) -> Table:
    """A table whose first column may be broken, and whose numbers never are."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
    table.add_column(first, overflow="fold", min_width=10)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def width_of(content: RenderableType) -> int:
    """How wide it must be, so that no number is cut off."""
    console = Console()
    return console.measure(content, options=console.options.update(max_width=WIDTH_MAX)).minimum


def print_wide(content: RenderableType) -> None:
    """As wide as the terminal, or as it must be: better a line that is broken than a number that is cut off."""
    console = Console()
    console.width = max(console.width, width_of(content))
    console.print(content)
    console.print()


def described(line: Mapping[str, Any]) -> str:
    """A line of a bill without its amount: what, how many, at which rate."""
    if line["events"] is None:
        return str(line["name"])
    return f"{line['events']:,} {line['name']} at {line['rate_per_thousand']} per 1,000"

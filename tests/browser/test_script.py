"""What the tracker records and offers is documented."""

from __future__ import annotations

import re
from pathlib import Path

from evothesis.collector.script import parts

PAGE = (Path(__file__).parents[2] / "docs/tracking.md").read_text()
SOURCE = "".join(parts().values())


def first_column(heading: str) -> set[str]:
    """The names that a table of the page explains."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `([\w-]+)` ", table, re.MULTILINE))


def test_types() -> None:
    """Every type of event that the tracker records stands in the table of its page, and no other."""
    assert set(re.findall(r"record\('(\w+)'", SOURCE)) == first_column("`eventType`")


def test_options() -> None:
    """Every attribute of the tag that the tracker reads stands in the table of its page, and no other."""
    read = set(re.findall(r"options\.(\w+)|listed\('(\w+)'\)", SOURCE))

    assert {f"data-{option or listed}" for option, listed in read} == first_column("attribute")


def test_commands() -> None:
    """Everything that a page may say to the tracker stands in its page, and nothing else."""
    commands = SOURCE.partition("const commands =")[2].partition("});")[0]

    said = set(re.findall(r"evothesis\('(\w+)'", PAGE))
    assert set(re.findall(r"^  (\w+): ", commands, re.MULTILINE)) == said

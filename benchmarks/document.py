"""Document: results as JSON in; docs/benchmarks.md with their tables, and the pictures beside it, out.

A table stands between `<!-- throughput -->` and `<!-- end -->`; what has no result stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.report import FOLDER

PAGE = Path("docs/benchmarks.md")
PICTURES = Path("docs/benchmarks")
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def measured_on(machine: dict[str, Any]) -> str:
    """The line below a table."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"*{machine['at']}; {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, PostgreSQL {machine['postgresql']}; {versions}.*"
    )


def filled(page: str, results: dict[str, dict[str, Any]]) -> str:
    """The page with the tables of the results."""

    def block(match: re.Match[str]) -> str:
        result = results.get(match[2])
        if result is None:
            return match[0]
        return match[1] + "\n\n".join([*result["tables"], measured_on(result["machine"])]) + match[3]

    return BLOCK.sub(block, page)


def main() -> None:
    """Write the page and draw the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.document", description=__doc__)
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of JSON files (%(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(%(default)s)")
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder to write to (%(default)s)")
    arguments = parser.parse_args()
    results = {file.stem: json.loads(file.read_text()) for file in arguments.results.glob("*.json")}
    arguments.page.write_text(filled(arguments.page.read_text(), results))
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    for name, draw in (("throughput", plot.throughput), ("stages", plot.stages)):
        if name in results:
            (arguments.pictures / f"{name}.svg").write_text(draw(results[name]))


if __name__ == "__main__":
    main()

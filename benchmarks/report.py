"""Report: results in; what a person reads on the terminal, and JSON for the plots, out. Options that programs share."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import machine

FOLDER = Path("var/benchmarks")  # on the disk that is measured; a temporary folder may be no disk at all


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all programs have."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{program}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--folder", type=Path, default=FOLDER / program, help="of data meanwhile (%(default)s)")
    made.add_argument("--json", type=Path, default=FOLDER / f"{program}.json", help="the result (%(default)s)")
    made.add_argument("--attempts", type=int, default=3, help="at a run that others disturb (%(default)s)")
    made.add_argument(
        "--foreign-cores-max",
        type=float,
        default=machine.FOREIGN_CORES_MAX,
        help="a run during which others took more is repeated (%(default)s)",
    )
    made.add_argument(
        "--wait-seconds", type=float, default=60, help="for a quiet machine, before each run (%(default)s)"
    )
    return made


def patience(arguments: argparse.Namespace) -> machine.Patience:
    """What the shared options ask for."""
    return machine.Patience(arguments.attempts, arguments.foreign_cores_max, arguments.wait_seconds)


def run(main: Callable[[], None]) -> None:
    """Run a program; what went wrong is said in one line, and what it left is there for a look."""
    try:
        main()
    except (RuntimeError, OSError, psycopg.Error, subprocess.SubprocessError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Error: interrupted")


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; numbers to the right."""
    lines = [header, ["---" if column == 0 else "---:" for column in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def finish(path: Path, result: dict[str, Any], tables: Sequence[str]) -> None:
    """Print tables, write everything."""
    result = {"machine": asdict(machine.Description.of_this()), "tables": tables, **result}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write("\n\n".join(tables) + "\n")
    say(f"Wrote {path}.")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"  # noqa: PLR2004 - three figures are enough
    return f"{value:,}" if isinstance(value, int) else str(value)

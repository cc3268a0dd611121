"""`evothesis doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evothesis.cli.common import ConfigPath, Format, FormatOption, shown, start
from evothesis.upkeep.finding import Finding, State

STYLES = {State.OK: "green", State.NOTE: "yellow", State.ACT: "bold red"}


def command(
    config: ConfigPath = None,
    tune: Annotated[bool, typer.Option("--tune", help="Print settings of PostgreSQL for this machine.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Look at everything, and say what to do about it.

    Ends with 1 when a person is needed. Each bucket is written to and read with its own credentials. Run it as root,
    who may look at everything.

    \b
    Examples:
      evothesis doctor
      evothesis doctor --format json | jq '.findings[] | select(.state == "act")'
      evothesis doctor --tune > /etc/postgresql/17/main/conf.d/evothesis.conf
    """
    settings = start(config)
    if tune:
        from evothesis.upkeep.tune import rendered, this_machine

        print(rendered(this_machine(settings.spool.path)), end="")
        return
    from evothesis.upkeep.doctor import examine, read_from

    findings = list(examine(settings, read_from(config)))
    needed = any(finding.state is State.ACT for finding in findings)
    if form is Format.JSON:
        print(json.dumps({"ok": not needed, "findings": [finding._asdict() for finding in findings]}))
    else:
        _print(findings)
    raise typer.Exit(1 if needed else 0)


def _print(findings: list[Finding]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("found, and what to do", overflow="fold")
    for subject, state, found, todo in findings:
        text = shown(found) + (f"\n[dim]→[/dim] {shown(todo)}" if todo else "")
        table.add_row(f"[{STYLES[state]}]{state}[/]", shown(subject), text)
    Console().print(table)
    act = sum(finding.state is State.ACT for finding in findings)
    print(f"{act} need a person." if act else "All is well.")

"""`evothesis export` and its commands."""

from __future__ import annotations

import typer

from evothesis.cli.common import ConfigPath, Format, FormatOption
from evothesis.cli.export import replay, run, status, verify

app = typer.Typer(
    help="""Deliver stored events to every destination. Without a command: `export run`.

    \b
    Examples:
      evothesis export
      evothesis export --format json
    """,
)
app.command("run")(run.command)
app.command("status")(status.command)
app.command("verify")(verify.command)
app.command("replay")(replay.command)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    if context.invoked_subcommand is None:
        run.command(config=config, form=form)

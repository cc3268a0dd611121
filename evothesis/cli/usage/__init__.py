"""`evothesis usage` and its commands."""

from __future__ import annotations

import typer

from evothesis.cli.usage import close, credit, month, notify

app = typer.Typer()
app.callback(invoke_without_command=True)(month.command)
app.command("close")(close.command)
app.command("credit")(credit.command)
app.command("notify")(notify.command)

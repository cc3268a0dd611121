"""Command line: the only code that prints, exits, or knows typer and rich. One file per command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evothesis import __version__
from evothesis.cli import accept_loss, export, migrate, serve, usage
from evothesis.errors import EvothesisError

app = typer.Typer(
    name="evothesis",
    help="Collects web behaviour data and delivers it raw to your own bucket.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Configuration: --config PATH, else $EVOTHESIS_CONFIG, else /etc/evothesis/config.toml, else defaults.",
)
app.command("serve")(serve.command)
app.command("migrate")(migrate.command)
app.command("usage")(usage.command)
app.command("accept-loss")(accept_loss.command)
app.add_typer(export.app, name="export")


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        print(f"evothesis {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; an error that a person can mend is printed as what failed and what to try."""
    try:
        app()
    except EvothesisError as error:
        print(f"Error: {error}", file=sys.stderr)
        if error.hint:
            print(f"Try: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

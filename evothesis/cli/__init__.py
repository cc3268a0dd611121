"""Command line: the only code that prints, exits, or knows typer and rich. One file per command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from evothesis import __version__
from evothesis.cli import accept_loss, export, migrate, serve, usage
from evothesis.cli.common import print_error
from evothesis.errors import EvothesisError

app = typer.Typer(
    name="evothesis",
    help="Collects web behaviour data and delivers it raw to your own bucket.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Configuration: --config PATH, else $EVOTHESIS_CONFIG, else /etc/evothesis/config.toml, else defaults.",
)
app.command("serve")(serve.command)
app.command("migrate")(migrate.command)
app.add_typer(export.app, name="export")
app.add_typer(usage.app, name="usage")
app.command("accept-loss")(accept_loss.command)


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
    """Run a command; what a person can mend is printed as what failed and what to try."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="evothesis", standalone_mode=False)
    except EvothesisError as error:
        print_error(str(error), error.hint)
        code = error.exit_code
    except typer.BadParameter.__base__ as error:  # type: ignore[misc]  # every misuse of the command line
        context = error.ctx
        print_error(error.format_message(), f"{context.command_path if context else 'evothesis'} --help")
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code)

"""`evothesis token` and its commands."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, shown, start
from evothesis.migrate import require_current

if TYPE_CHECKING:
    from evothesis.admin.tokens import Token

NAME_LENGTH_MAX = 100

app = typer.Typer(
    help="""Make and revoke tokens of the operator's API.

    \b
    Examples:
      evothesis token create prometheus --scope read
      evothesis token list
      evothesis token revoke prometheus
    """,
    no_args_is_help=True,
)


class Scope(StrEnum):
    """What a token is for."""

    READ = "read"
    EXPORT = "export"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(help="What it is known by, in lists and in audit_log.")]


@app.command("create")
def create(
    name: Name,
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be given again. admin: everything.")],
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="For how long; else until it is revoked.", show_default=False)
    ] = None,
    config: ConfigPath = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make a token and print it: once, for only its digest is kept.

    \b
    Examples:
      evothesis token create prometheus --scope read
      evothesis token create nightly --scope read --scope export --days 90
    """
    from evothesis.admin.tokens import create as make

    if not (0 < len(name) <= NAME_LENGTH_MAX and name.isprintable()):
        message = f"a name has 1 to {NAME_LENGTH_MAX} printable characters"
        raise typer.BadParameter(message)
    lifetime = timedelta(days=days) if days else None
    with _connected(config) as connection:
        secret, token = make(connection, name, [one.value for one in scope], lifetime=lifetime, actor=getpass.getuser())
    if form is Format.JSON:
        print(json.dumps({"token": secret} | _as_json(token)))
        return
    print(secret)
    Console(stderr=True).print("It is shown this once. Send it as `Authorization: Bearer …`.", markup=False)


@app.command("list")
def list_(config: ConfigPath = None, form: FormatOption = Format.TABLE) -> None:
    """Show the tokens that were not revoked; the one in the configuration is not among them.

    \b
    Examples:
      evothesis token list
      evothesis token list --format json | jq '.tokens[] | select(.last_used_at == null)'
    """
    from evothesis.admin.tokens import tokens

    with _connected(config) as connection:
        found = tokens(connection)
    if form is Format.JSON:
        print(json.dumps({"tokens": [_as_json(token) for token in found]}))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "scopes", "created", "expires", "last used"):
        table.add_column(column, overflow="fold")
    for token in found:
        moments = (_moment(moment) for moment in (token.created_at, token.expires_at, token.last_used_at))
        table.add_row(shown(token.name), ", ".join(token.scopes), *moments)
    Console().print(table)


@app.command("revoke")
def revoke(name: Name, config: ConfigPath = None) -> None:
    """Make a token worthless, at once.

    \b
    Examples:
      evothesis token revoke prometheus
    """
    from evothesis.admin.tokens import revoke as end

    with _connected(config) as connection:
        end(connection, name, actor=getpass.getuser())
    print(f"revoked: {name}")


@contextmanager
def _connected(config: ConfigPath) -> Iterator[pg.Connection]:
    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="token") as connection:
        require_current(connection)
        yield connection


def _as_json(token: Token) -> dict[str, Any]:
    fields = token._asdict().items()
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields}


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"

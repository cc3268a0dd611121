"""`evothesis serve`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from evothesis.cli.common import ConfigPath, start


class Role(StrEnum):
    """Which processes run."""

    ALL = "all"
    COLLECTOR = "collector"
    LOADER = "loader"


# the tables of the configuration whose secrets a role needs: its user may be unable to read those of the others
SECRETS = {Role.ALL: None, Role.COLLECTOR: (), Role.LOADER: ("admin", "database")}


def command(
    config: ConfigPath = None,
    role: Annotated[
        Role, typer.Option(help="collector: takes events, knows no database. loader: stores them.")
    ] = Role.ALL,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the demo site too, and export every 5 minutes.")] = False,
    demo_port: Annotated[int, typer.Option(help="Where the demo site listens on 127.0.0.1.", min=1, max=65535)] = 8080,
) -> None:
    """Collect events and store them, until stopped.

    Without a configuration it uses an embedded PostgreSQL and keeps everything under ./var.

    \b
    Examples:
      evothesis serve
      evothesis serve --demo
      EVOTHESIS_SERVER_PORT=80 evothesis serve --config /etc/evothesis/config.toml
    """
    from evothesis.programs import Scope
    from evothesis.serve import serve

    serve(start(config, secrets=SECRETS[role]), Scope(role.value, demo_port if demo else None, config))

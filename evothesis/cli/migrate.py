"""`evothesis migrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, start
from evothesis.migrate import migrate, pending


def command(
    config: ConfigPath = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when something is pending.")] = False,
) -> None:
    """Bring the database's schema up to date.

    May be started many times at once. A database that a newer version migrated is refused.

    \b
    Examples:
      evothesis migrate
      evothesis migrate --check
    """
    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="migrate") as connection:
        if check:
            waiting = pending(connection)
            print("\n".join(f"pending  {migration.name}" for migration in waiting) or "up to date")
            raise typer.Exit(1 if waiting else 0)
        applied = migrate(connection)
    print("\n".join(f"applied  {migration.name}" for migration in applied) or "up to date")

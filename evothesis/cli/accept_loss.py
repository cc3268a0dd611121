"""`evothesis accept-loss`."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, start
from evothesis.loader.accept import accept, gaps
from evothesis.migrate import require_current


def command(
    config: ConfigPath = None,
    writer: Annotated[int | None, typer.Option(help="Give up the missing segments of this writer.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
) -> None:
    """Show segments that are missing from the spool; with --writer, give them up.

    A writer whose next segment is missing waits: nothing is skipped silently. When the file is gone for good (a disk
    died, somebody removed it) this lets the segments behind it be loaded, and records who decided so.

    \b
    Examples:
      evothesis accept-loss
      evothesis accept-loss --writer 1802744773 --reason "disk replaced on Sunday"
    """
    settings = start(config)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="accept-loss") as connection:
        require_current(connection)
        found = gaps(connection, settings.spool.path)
        for gap in found:
            print(f"writer {gap.writer}: segments {gap.first} to {gap.last} are missing")
        if not found:
            print("nothing is missing")
        if writer is None:
            return
        chosen = next((gap for gap in found if gap.writer == writer), None)
        if chosen is None or not reason:
            message = "give a reason with --reason" if chosen else f"writer {writer} misses nothing"
            raise typer.BadParameter(message)
        accept(connection, chosen, actor=getpass.getuser(), reason=reason)
        print(f"given up: segments {chosen.first} to {chosen.last} of writer {writer}")

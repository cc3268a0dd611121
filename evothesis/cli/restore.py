"""`evothesis restore`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, Format, FormatOption, start

if TYPE_CHECKING:
    from evothesis.upkeep.restore import Restored


def command(  # noqa: PLR0913, PLR0917 - each is an option of the command
    name: Annotated[str | None, typer.Argument(help="A backup's name; without it, the newest.")] = None,
    config: ConfigPath = None,
    drill: Annotated[bool, typer.Option("--drill", help="Restore into a scratch database, compare, drop it.")] = False,
    from_bucket: Annotated[bool, typer.Option("--from-bucket", help="Read from backup.bucket.")] = False,
    identity: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key that age-keygen wrote.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Put aside what the database holds, into a schema of its own.")
    ] = False,
    listing: Annotated[bool, typer.Option("--list", help="Name the backups that are there.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Make the database what it was at a backup; with --drill, only prove that it can be done.

    The dump is compared with its digest, and every table's rows with what was counted. Afterwards start the services:
    what was loaded since is loaded again from the kept segments of the spool, and what buckets have is not sent twice.

    \b
    Examples:
      evothesis restore --list
      evothesis restore --drill
      evothesis restore 20261125T032000Z --overwrite
      evothesis restore --from-bucket --identity /media/key.txt
    """
    from evothesis.upkeep.restore import Source
    from evothesis.upkeep.restore import drill as try_restore
    from evothesis.upkeep.restore import restore as really_restore

    settings = start(config)
    source = Source.of(settings, from_bucket=from_bucket, identity=identity)
    if listing:
        names = source.names()
        print(json.dumps({"backups": names}) if form is Format.JSON else "\n".join(names) or "there is none")
        return
    now = datetime.now(UTC)
    with (
        source.open(name) as (backup, dump),
        database(settings.database) as url,
        pg.reporting(),
        pg.connect(url, name="restore") as connection,
    ):
        if drill:
            done = try_restore(connection, url, backup, dump, now)
        else:
            done = really_restore(connection, url, backup, dump, now, overwrite=overwrite)
    if form is Format.JSON:
        print(json.dumps({"ok": not done.problems, **done._asdict()}))
    else:
        _print(done)
    raise typer.Exit(1 if done.problems else 0)


def _print(done: Restored) -> None:
    table = Table("table", "rows", box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[1].justify = "right"
    for name, rows in done.rows.items():
        table.add_row(name, f"{rows:,}")
    Console().print(table)
    for problem in done.problems:
        print(f"wrong: {problem}")
    if done.kept:
        print(f"What was there before: drop schema {done.kept} cascade, when nobody needs it any more.")
    state = "has problems" if done.problems else "is whole"
    print(
        f"Backup {done.name} {state}; {'the scratch database is gone' if done.is_drill else 'it is the database now'}."
    )

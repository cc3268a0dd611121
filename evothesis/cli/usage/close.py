"""`evothesis usage close`."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, start
from evothesis.cli.usage.invoice import InvoiceFormat, print_invoice
from evothesis.migrate import require_current
from evothesis.usage.close import close
from evothesis.usage.invoice import invoice
from evothesis.usage.meter import Month


def command(
    config: ConfigPath = None,
    month: Annotated[
        str | None,
        typer.Option(metavar="YYYY-MM", help="A month in UTC, instead of the last one.", show_default=False),
    ] = None,
    form: Annotated[InvoiceFormat, typer.Option("--format", help="How to print.")] = InvoiceFormat.TABLE,
) -> None:
    """Freeze a month's invoice, once, and print it.

    Of a month that is closed it prints the invoice again, with its credits. What arrives for a closed month is billed
    with the next one.

    \b
    Examples:
      evothesis usage close
      evothesis usage close --month 2026-11 --format html > 2026-11.html
    """
    settings = start(config)
    now = datetime.now(UTC)
    chosen = Month.parse(month) if month else Month.of(now).previous
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="usage close") as connection:
        require_current(connection)
        is_new = close(connection, settings, chosen, now=now, actor=getpass.getuser())
        found = invoice(connection, chosen)
    print_invoice(found, form)
    print(f"{found['invoice']} {'is closed' if is_new else 'was closed before'}.", file=sys.stderr)

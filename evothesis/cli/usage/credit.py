"""`evothesis usage credit`."""

from __future__ import annotations

import getpass
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from evothesis import pg
from evothesis.appliance.postgres import database
from evothesis.cli.common import ConfigPath, start
from evothesis.cli.usage.invoice import InvoiceFormat, print_invoice
from evothesis.migrate import require_current
from evothesis.usage.credit import credit
from evothesis.usage.invoice import invoice
from evothesis.usage.meter import Month


def command(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The month of the invoice.")],
    amount: Annotated[str, typer.Option(metavar="AMOUNT", help="What is taken off, in the invoice's currency.")],
    reason: Annotated[str, typer.Option(help="Why; the client reads it on the invoice.")],
    config: ConfigPath = None,
    form: Annotated[InvoiceFormat, typer.Option("--format", help="How to print.")] = InvoiceFormat.TABLE,
) -> None:
    """Take an amount off a closed month's invoice, and print it.

    The invoice stays as it is; the credit has a number of its own. The same reason is credited once, however often the
    command runs.

    \b
    Examples:
      evothesis usage credit --month 2026-11 --amount 12.50 --reason "outage of 3 November"
    """
    try:
        off = Decimal(amount)
    except InvalidOperation as error:
        message = f"{amount!r} is no amount: write it like 12.50"
        raise typer.BadParameter(message) from error
    if not reason.strip():
        message = "say why, with --reason"
        raise typer.BadParameter(message)
    settings = start(config)
    chosen = Month.parse(month)
    with database(settings.database) as url, pg.reporting(), pg.connect(url, name="usage credit") as connection:
        require_current(connection)
        credit(connection, chosen, off, reason.strip(), actor=getpass.getuser())
        found = invoice(connection, chosen)
    print_invoice(found, form)

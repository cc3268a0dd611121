"""Credit: a mistake on an invoice in, a row of its own that takes it off out. Invoices themselves never change."""

from __future__ import annotations

from decimal import Decimal

from psycopg.types.json import Json, Jsonb

from evothesis import pg
from evothesis.currency import unit
from evothesis.errors import InvoiceError
from evothesis.usage.close import AUDIT, LOCK
from evothesis.usage.meter import Month

CREDITED = """
select i.number, i.name, i.instance, i.month, i.currency, count(c.number) as credits,
       i.amount + coalesce(sum(c.amount), 0) as due, max(c.amount) filter (where c.reason = %(reason)s) as same
  from invoices i left join invoices c on c.corrects = i.number
 where i.month = %(month)s and i.corrects is null
 group by i.number
"""
CREDIT = """
insert into invoices (number, previous_number, name, instance, month, corrects, reason, amount, currency, lines,
                      closed_by)
select max(number) + 1, max(number), %(name)s, %(instance)s, %(month)s, %(corrects)s, %(reason)s, %(amount)s,
       %(currency)s, %(lines)s, %(actor)s
  from invoices
"""


def credit(connection: pg.Connection, month: Month, amount: Decimal, reason: str, *, actor: str) -> bool:
    """Take an amount off a month's invoice, once for each reason; False when that was done before.

    Raises InvoiceError when there is no such invoice, when less is left of it, or when the amount cannot be paid.
    """
    with connection.transaction():
        connection.execute(LOCK)
        invoice = connection.execute(CREDITED, {"month": month.first, "reason": reason}).fetchone()
        if invoice is None:
            message = f"{month} is not closed"
            raise InvoiceError(message, hint=f"evothesis usage close --month {month}")
        if invoice["same"] is not None:
            if invoice["same"] == -amount:
                return False
            message = f"{invoice['name']} has a credit of {-invoice['same']} for this reason"
            raise InvoiceError(message, hint="give another reason for another credit")
        smallest = unit(invoice["currency"])
        if not amount.is_finite() or not 0 < amount <= invoice["due"] or amount % smallest:
            message = (
                f"{amount} cannot be credited: {invoice['due']} {invoice['currency']} of {invoice['name']} are left"
            )
            raise InvoiceError(message, hint=f"give an amount from {smallest} to what is left, in units of {smallest}")
        name = f"{invoice['name']}-credit-{invoice['credits'] + 1}"
        off = -amount.quantize(smallest)
        line = {"kind": "credit", "name": reason, "events": None, "rate_per_thousand": None, "amount": str(off)}
        fields = {part: invoice[part] for part in ("instance", "month", "currency")}
        fields |= {"name": name, "corrects": invoice["number"], "reason": reason, "amount": off, "actor": actor}
        connection.execute(CREDIT, fields | {"lines": Json([line])})
        details = {"name": name, "corrects": invoice["name"], "amount": str(off), "reason": reason}
        connection.execute(AUDIT, {"actor": actor, "action": "usage-credit", "details": Jsonb(details)})
    return True

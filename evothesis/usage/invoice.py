"""Invoice: a closed month in, the document that is sent to the client out, the same whenever it is asked for.

Only what happens to a month after it was closed is looked up: credits, and under which manifests its events lie.
"""

from __future__ import annotations

from typing import Any

from evothesis import pg
from evothesis.errors import InvoiceError
from evothesis.usage.meter import Month

INVOICE = """
select number, name as invoice, instance, to_char(month, 'YYYY-MM') as month, closed_at, closed_by, events, billable,
       duplicates, bots, rejected, withheld, amount, currency, tariff, lines, sites
  from invoices where month = %(month)s and corrects is null
"""
NAME = "select name from invoices where month = %(month)s and corrects is null"
CREDITS = """
select number, name as invoice, amount, reason, closed_at, closed_by
  from invoices where corrects = %(number)s order by number
"""
LOADS = """
select writer, first_segment_no as first, last_segment_no as last
  from invoice_ranges where number = %(number)s order by writer
"""
MANIFESTS = """
-- a chunk counts from the first manifest that lists it: formats that were added later have later ones
with covered as (
  select distinct e.export_id
    from invoice_ranges i
    join export_ranges e on e.writer = i.writer and e.first_segment_no <= i.last_segment_no
                        and e.last_segment_no >= i.first_segment_no
   where i.number = %(number)s
), listed as (
  select d.destination, d.export_id, min(d.manifest_sequence) filter (where d.state = 'published') as manifest
    from covered join deliveries d using (export_id)
   group by d.destination, d.export_id
)
select destination, min(manifest) as first, max(manifest) as last,
       count(manifest) = (select count(*) from covered)
         and not exists (
           select from invoice_ranges i
            where i.number = %(number)s and i.last_segment_no > coalesce(
              (select max(e.last_segment_no) from export_ranges e where e.writer = i.writer), -1)
         ) as complete
  from listed
 group by destination
 order by destination
"""


def name(connection: pg.Connection, month: Month) -> str | None:
    """That of a closed month's invoice."""
    row = connection.execute(NAME, {"month": month.first}).fetchone()
    return row["name"] if row else None


def invoice(connection: pg.Connection, month: Month) -> dict[str, Any]:
    """`{"number", "invoice", …, "lines", "sites", "loads", "manifests", "credits", "due"}`. Raises InvoiceError.

    A site has a line for each month in which its events were received: `received` is where a bucket has them.
    """
    with connection.transaction():
        # one moment for all of it: a credit must not stand beside a sum without it
        connection.execute("set transaction isolation level repeatable read, read only")
        found = connection.execute(INVOICE, {"month": month.first}).fetchone()
        if found is None:
            message = f"{month} is not closed"
            raise InvoiceError(message, hint=f"evothesis usage close --month {month}")
        number = {"number": found["number"]}
        loads, manifests, corrections = (
            connection.execute(query, number).fetchall() for query in (LOADS, MANIFESTS, CREDITS)
        )
    due = found["amount"] + sum(credit["amount"] for credit in corrections)
    for row in (found, *corrections):
        row |= {"amount": str(row["amount"]), "closed_at": row["closed_at"].isoformat()}
    return found | {"loads": loads, "manifests": manifests, "credits": corrections, "due": str(due)}

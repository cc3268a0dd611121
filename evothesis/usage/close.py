"""Close: a month that is over in, its invoice out, frozen.

An invoice covers consecutive loads of each writer: from behind those of the invoice before, up to the last load of the
month. So each load is billed once, and what arrives when its month is closed stands on the next invoice. All of a close
is one transaction, one at a time; a month that is closed already is left as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from psycopg.types.json import Json, Jsonb

from evothesis import outbox, pg
from evothesis.config import Config
from evothesis.errors import InvoiceError
from evothesis.usage.meter import Month
from evothesis.usage.pricing import billable, price
from evothesis.usage.report import printed

LOCK = "lock table invoices in share row exclusive mode"
LAST_MONTH = "select to_char(max(month), 'YYYY-MM') as month from invoices where corrects is null"
LAST = """
select (select max(number) from invoices) as number, to_char(max(month), 'YYYY-MM') as month,
       coalesce(bool_or(month = %(first)s), false) as is_closed
  from invoices where corrects is null
"""
EARLIER = """
-- of months that could still be closed: a month that was left out is too late, its events are on the next invoice
select min(l.hour) as hour
  from writers w
  left join lateral (
    select max(r.last_segment_no) as segment_no from invoice_ranges r where r.writer = w.writer
  ) billed on true
  join loads l on l.writer = w.writer and l.segment_no > coalesce(billed.segment_no, -1)
 where l.accepted > 0 and l.hour < %(first)s
   and l.hour >= coalesce((to_date(%(last)s, 'YYYY-MM') + interval '1 month')::date, '-infinity')
"""
RANGES = """
-- up to the last load of the month: a clock that was ahead for a while keeps nothing from being billed
select w.writer, billed.segment_no as previous, coalesce(billed.segment_no + 1, 0) as first, newest.segment_no as last
  from writers w
  left join lateral (
    select max(r.last_segment_no) as segment_no from invoice_ranges r where r.writer = w.writer
  ) billed on true
 cross join lateral (
    select l.segment_no from loads l
     where l.writer = w.writer and l.segment_no > coalesce(billed.segment_no, -1) and l.hour < %(end)s
     order by l.segment_no desc limit 1
  ) newest
 order by w.writer
"""
COUNTS = """
select u.site_id, to_char(u.usage_day, 'YYYY-MM') as received, sum(u.accepted)::bigint as events,
       sum(u.duplicate)::bigint as duplicates, sum(u.bots)::bigint as bots, sum(u.rejected)::bigint as rejected,
       sum(u.withheld)::bigint as withheld
  from unnest(%(writers)s::integer[], %(firsts)s::bigint[], %(lasts)s::bigint[]) as r (writer, first, last)
  join usage_ledger u on u.writer = r.writer and u.segment_no between r.first and r.last
 group by 1, 2
 order by 1, 2
"""
INVOICE = """
insert into invoices (number, previous_number, name, instance, month, amount, currency, events, billable, duplicates,
                      bots, rejected, withheld, tariff, lines, sites, closed_by)
values (coalesce(%(previous)s::bigint + 1, 1), %(previous)s, %(name)s, %(instance)s, %(month)s, %(amount)s,
        %(currency)s, %(events)s, %(billable)s, %(duplicates)s, %(bots)s, %(rejected)s, %(withheld)s, %(tariff)s,
        %(lines)s, %(sites)s, %(actor)s)
returning number, name as invoice, to_char(month, 'YYYY-MM') as month, closed_at
"""
RANGE = """
insert into invoice_ranges (number, writer, previous_segment_no, first_segment_no, last_segment_no)
values (%(number)s, %(writer)s, %(previous)s, %(first)s, %(last)s)
"""
AUDIT = "insert into audit_log (actor, action, details) values (%(actor)s, %(action)s, %(details)s)"


class _Range(NamedTuple):
    writer: int
    previous: int | None
    first: int
    last: int


def close(connection: pg.Connection, config: Config, month: Month, *, now: datetime, actor: str) -> bool:
    """Freeze the month's invoice; False when that was done before. Raises InvoiceError when it cannot be done yet."""
    if now < month.end:
        message = f"{month} is not over"
        raise InvoiceError(
            message, hint=f"close it from {month.next} on, in UTC; until then `evothesis usage` shows it"
        )
    with connection.transaction():
        connection.execute(LOCK)
        last = pg.one(connection, LAST, {"first": month.first})
        if last["is_closed"]:
            return False
        _check_order(connection, month, last["month"])
        ranges = [_Range(**row) for row in connection.execute(RANGES, {"end": month.end}).fetchall()]
        if not ranges and last["number"] is None:
            message = f"nothing was collected in {month}, or before"
            raise InvoiceError(message, hint="is it the right month, and the right database?")
        _record(connection, config, month, ranges, previous=last["number"], actor=actor)
    return True


def _check_order(connection: pg.Connection, month: Month, last: str | None) -> None:
    """Each month has its own bill: none may be closed while events of one before it wait for theirs."""
    if last and str(month) < last:
        message = f"{month} was not closed before {last} was; its events stand on a later invoice"
        raise InvoiceError(
            message,
            hint=f"evothesis usage close --month {last} prints that one; its lines say when events were received",
        )
    earlier = _earlier(connection, month, last)
    if earlier:
        message = f"{earlier} has events and is not closed"
        raise InvoiceError(message, hint=f"first evothesis usage close --month {earlier}")


def to_close(connection: pg.Connection, month: Month) -> Month | None:
    """The first month before this one that has events, and could be closed."""
    return _earlier(connection, month, pg.one(connection, LAST_MONTH)["month"])


def _earlier(connection: pg.Connection, month: Month, last: str | None) -> Month | None:
    hour = pg.one(connection, EARLIER, {"first": month.first, "last": last})["hour"]
    return Month.of(hour) if hour else None


def _record(
    connection: pg.Connection, config: Config, month: Month, ranges: list[_Range], *, previous: int | None, actor: str
) -> None:
    """In the caller's transaction."""
    tariff = config.usage
    of_each = {f"{name}s": [getattr(part, name) for part in ranges] for name in ("writer", "first", "last")}
    sites = connection.execute(COUNTS, of_each).fetchall()
    for site in sites:
        site["billable"] = billable(site["events"], site["bots"], tariff)
    names = ("events", "billable", "duplicates", "bots", "rejected", "withheld")
    totals = {name: sum(site[name] for site in sites) for name in names}
    cost = price(totals["billable"], tariff)
    head = {"name": f"{config.instance}-{month}", "amount": cost.amount, "currency": tariff.currency}
    frozen = pg.one(
        connection,
        INVOICE,
        head
        | totals
        | {"previous": previous, "instance": config.instance, "month": month.first, "actor": actor}
        | {"tariff": Json(msgspec.to_builtins(tariff)), "lines": Json([printed(line) for line in cost.lines])}
        | {"sites": Json(sites)},
    )
    for part in ranges:
        connection.execute(RANGE, part._asdict() | {"number": frozen["number"]})
    counted = {"events": totals["events"], "billable": totals["billable"]}
    told = frozen | counted | {"amount": cost.amount, "currency": tariff.currency}
    outbox.add(connection, "invoice.closed", frozen["invoice"], told)
    details = head | totals | {"amount": str(cost.amount), "number": frozen["number"], "month": str(month)}
    connection.execute(AUDIT, {"actor": actor, "action": "usage-close", "details": Jsonb(details)})

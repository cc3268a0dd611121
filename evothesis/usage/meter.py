"""Meter: what a month counted, from the ledger that the loads wrote and its sums."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Literal, NamedTuple

from psycopg import sql

from evothesis import pg
from evothesis.errors import ConfigurationError

Group = Literal["site", "day"]

# by site or by day in one query; a group's name is text in both
COUNTS = """
select {group}::text as name,
       sum(accepted)::bigint as events, sum(bots)::bigint as bots, sum(duplicate)::bigint as duplicates,
       sum(rejected)::bigint as rejected, sum(withheld)::bigint as withheld
  from usage_counts
 where usage_day >= %(first)s and usage_day < %(next)s
 group by 1
 order by 1
"""


class Counts(NamedTuple):
    """Events of one site or one day. `events` are stored ones, also those that bots sent."""

    name: str
    events: int
    bots: int
    duplicates: int
    rejected: int
    withheld: int


class Month(NamedTuple):
    """A calendar month in UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """`2026-11`. Raises ConfigurationError."""
        match = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
        if match is None or match[1] in ("0000", "9999"):  # date has no year 0, and none after 9999
            message = f"{text!r} is not a month"
            raise ConfigurationError(message, hint="write it as YYYY-MM, for example 2026-11")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """The month in which a moment lies."""
        day = moment.astimezone(UTC)
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        """Its first day."""
        return date(self.year, self.number, 1)

    @property
    def next(self) -> date:
        """The first day after it."""
        return date(self.year + self.number // 12, self.number % 12 + 1, 1)

    @property
    def end(self) -> datetime:
        """The moment at which it is over."""
        return datetime.combine(self.next, time(), UTC)

    @property
    def previous(self) -> Month:
        """The month before."""
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    def __str__(self) -> str:
        """As it is parsed."""
        return f"{self.year:04d}-{self.number:02d}"


def counts(connection: pg.Connection, month: Month, by: Group) -> list[Counts]:
    """The month's counts per site or per day."""
    column = {"site": "site_id", "day": "usage_day"}[by]
    query = sql.SQL(COUNTS).format(group=sql.Identifier(column))
    known = {"first": month.first, "next": month.next}
    # not prepared: a plan that fits any stretch of days expects few rows
    return [Counts(**row) for row in connection.execute(query, known, prepare=False).fetchall()]

"""The seven invariants of "each event exactly once", checked from outside.

    A  acknowledged    R  refused    U  sent, never answered for    S  in PostgreSQL    X  in a bucket    B  billed

    1  no loss         A is in S
    2  no invention    S is in A and U; nothing of R is in S
    3  once            each event stands in S once, and in each X once
    4  same bytes      the SHA-256 of an event is the same at its sender, in S and in each X
    5  export          each X is S; its chain of manifests is whole
    6  billing         B is the size of S, in each of the places where it is counted
    7  liveness        after the fault an event gets through: whoever calls this sends one first, and it is in A

There is no quarantine. What retention removed still counts as stored: the table `removed` says of each load how many
events went, and a bucket which ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from evothesis import pg
from evothesis.usage.check import differences
from tests.oracle.bucket import Bucket
from tests.oracle.journal import Journal, Sent
from tests.oracle.stored import EPOCH, Stored, in_table

EXAMPLES_MAX = 5

LOADS = """
select l.writer, l.segment_no, l.accepted, l.duplicate, l.rejected, l.damaged, coalesce(u.accepted, 0) as billed,
       coalesce(u.duplicate, 0) as billed_duplicate, coalesce(u.rejected, 0) as billed_rejected
  from loads l
  left join (
    select writer, segment_no, sum(accepted)::int as accepted, sum(duplicate)::int as duplicate,
           sum(rejected)::int as rejected
      from usage_ledger group by 1, 2
  ) u using (writer, segment_no)
 order by l.writer, l.segment_no
"""
LEDGER = "select site_id, sum(accepted)::int as accepted from usage_ledger group by 1 having sum(accepted) > 0"
TYPES = "select site_id, event_type, sum(events)::int as events from usage_types group by 1, 2"
POSITIONS = "select writer, next_segment_no from writers order by writer"
REJECTED = """
select (select count(*) from rejected_events)::int + (select coalesce(sum(rejected), 0) from removed)::int as rows
"""
DAYS = "select distinct usage_day as day from usage_ledger"
REMOVED = "select writer, segment_no, events from removed"

RATE_PER_THOUSAND = Decimal("0.01")
CENT = Decimal("0.01")


def broken(journal: Journal, dsn: str, buckets: Sequence[Path], usage: Sequence[dict[str, Any]]) -> list[str]:
    """What is broken, a sentence each; nothing may be on its way.

    `usage` is what `evothesis usage --format json` prints for each month that has usage.
    """
    exported = [Bucket(bucket) for bucket in buckets]
    removed = {(row["writer"], row["segment_no"]): row["events"] for row in _rows(dsn, REMOVED)}
    elsewhere = [row for bucket in exported[:1] for row in bucket.rows if row.segment in removed]
    stored = in_table(dsn) + elsewhere
    return [
        *_removal(removed, elsewhere),
        *_no_loss(journal, stored),
        *_no_invention(journal, stored),
        *_once("PostgreSQL", stored),
        *_same_bytes(journal, stored),
        *_export(stored, exported),
        *_billing(journal, stored, dsn, exported, usage),
    ]


def _removal(removed: dict[tuple[int, int], int], elsewhere: list[Stored]) -> Iterator[str]:
    counted = Counter(row.segment for row in elsewhere)
    wrong = (f"{name}: {events}, {counted[name]}" for name, events in removed.items() if events != counted[name])
    yield from _some("removed", "loads lost other numbers of events than a bucket has of them", wrong)


def _no_loss(journal: Journal, stored: list[Stored]) -> Iterator[str]:
    lost = set(+journal.acked) - {row.mark for row in stored}
    yield from _some("no loss", f"of {len(+journal.acked)} acknowledged events are not stored", lost)


def _no_invention(journal: Journal, stored: list[Stored]) -> Iterator[str]:
    marks = {row.mark for row in stored}
    invented = marks - set(+journal.acked) - set(+journal.unknown)
    yield from _some("no invention", "are stored that nobody had acknowledged", invented)
    yield from _some("no invention", "are stored although they were refused", marks & journal.refused)
    yield from _some("no invention", "answers are not what they should be", journal.surprises)


def _once(where: str, stored: Iterable[Stored]) -> Iterator[str]:
    for what, counts in (
        ("events", Counter(row.mark for row in stored)),
        ("places", Counter(str(row.place) for row in stored)),
        ("ids", Counter(row.event_id for row in stored)),
    ):
        yield from _some("once", f"{what} stand in {where} more than once", (key for key in counts if counts[key] > 1))


def _same_bytes(journal: Journal, stored: list[Stored]) -> Iterator[str]:
    sent = ((row, journal.sent[row.mark]) for row in stored if row.mark in journal.sent)
    different = (f"{row.mark}: {fault}" for row, event in sent for fault in _differences(row, event))
    yield from _some("same bytes", "stored events are not what was sent", different)


def _differences(row: Stored, sent: Sent) -> Iterator[str]:
    if sent.raw_sha256 != row.raw_sha256:
        yield f"raw_event_data at {row.place} differs from {sent.raw}"
    said = sent.context | sent.raw
    for name, actual in row.columns.items():
        expected = _microseconds(said["timestamp"]) if name == "timestamp" else said.get(name)
        # a path that was not sent may be taken from the address
        if expected != actual and not (name == "path" and name not in said):
            yield f"{name} at {row.place}: expected {expected!r}, found {actual!r}"
    if "eventId" in said and said["eventId"] != row.event_id:
        yield f"event_id at {row.place}: expected {said['eventId']}, found {row.event_id}"
    if row.others[-1]:
        yield f"event_id_reused at {row.place}"


def _export(stored: list[Stored], exported: list[Bucket]) -> Iterator[str]:
    in_order = sorted(stored)
    for bucket in exported:
        yield from (f"export: {fault}" for fault in bucket.faults)
        yield from _once(bucket.folder.name, bucket.rows)
        delivered = {row.place: row for row in bucket.rows}
        missing = (row.mark for row in in_order if row.place not in delivered)
        yield from _some("export", f"of {len(stored)} stored events are not in {bucket.folder.name}", missing)
        surplus = set(delivered) - {row.place for row in stored}
        yield from _some("export", f"are in {bucket.folder.name} and not in PostgreSQL", surplus)
        changed = (row.mark for row in in_order if delivered.get(row.place, row) != row)
        yield from _some("same bytes", f"events differ between PostgreSQL and {bucket.folder.name}", changed)


def _billing(
    journal: Journal, stored: list[Stored], dsn: str, exported: list[Bucket], usage: Sequence[dict[str, Any]]
) -> Iterator[str]:
    yield from _billed_loads(stored, dsn)
    totals = {
        "PostgreSQL": len(stored),
        "usage": sum(month["events"] for month in usage),
        "billable and bots": sum(month["billable"] + month["bots"] for month in usage),
        **{f"manifests in {bucket.folder.name}": bucket.listed_rows for bucket in exported},
    }
    if len(set(totals.values())) > 1:
        yield f"billing: totals differ: {totals}"
    sites = Counter(row.columns["siteId"] for row in stored)
    ledger = {row["site_id"]: row["accepted"] for row in _rows(dsn, LEDGER)}
    if sites != ledger:
        yield f"billing: events per site: {dict(sites)} in PostgreSQL, {ledger} on the ledger"
    types = Counter((row.columns["siteId"], row.columns["eventType"]) for row in stored)
    counted = {(row["site_id"], row["event_type"]): row["events"] for row in _rows(dsn, TYPES)}
    if types != counted:
        yield f"billing: events per type: {dict(types)} in PostgreSQL, {counted} counted"
    for month in usage:
        exact = month["billable"] * RATE_PER_THOUSAND / 1000
        if abs(Decimal(month["amount"]) - exact) > CENT / 2:
            yield f"billing: {month['billable']} events cost {month['amount']}"
    yield from _not_billed(journal, stored, dsn, usage)
    with pg.connect(dsn, name="test") as connection:
        for row in _rows(dsn, DAYS):
            yield from (f"billing: {difference}" for difference in differences(connection, row["day"]))


def _billed_loads(stored: list[Stored], dsn: str) -> Iterator[str]:
    """Each load agrees with its rows and its part of the ledger, and none is missing."""
    rows = Counter(row.segment for row in stored)
    numbers: dict[int, list[int]] = {}
    for load in _rows(dsn, LOADS):
        name = (load["writer"], load["segment_no"])
        numbers.setdefault(load["writer"], []).append(load["segment_no"])
        counted = {"rows": rows[name], "loads": load["accepted"], "usage_ledger": load["billed"]}
        if len(set(counted.values())) > 1:
            yield f"billing: segment {name} counts differ: {counted}"
        if (load["duplicate"], load["rejected"]) != (load["billed_duplicate"], load["billed_rejected"]):
            yield f"billing: duplicates or rejected events of segment {name} differ between loads and usage_ledger"
        if load["damaged"]:
            yield f"no loss: segment {name} was damaged"
    consecutive = {row["writer"]: list(range(row["next_segment_no"])) for row in _rows(dsn, POSITIONS)}
    if consecutive != numbers:
        yield "billing: loads have gaps, or the loader's positions are not behind the last ones"


def _not_billed(journal: Journal, stored: list[Stored], dsn: str, usage: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Copies of what is stored, and refused events, are counted beside it."""
    acked = sum(journal.acked.values())
    unknown = sum(journal.unknown.values())
    duplicates = sum(month["duplicates"] for month in usage)
    if not acked - len(stored) <= duplicates <= acked + unknown - len(stored):
        yield (
            f"billing: {duplicates} duplicates were counted; {acked} copies were acknowledged and {unknown} not "
            f"answered for, of which {len(stored)} are stored"
        )
    kept = _rows(dsn, REJECTED)[0]["rows"]
    rejected = sum(month["rejected"] for month in usage)
    if kept != rejected:
        yield f"billing: {rejected} rejected events were counted and {kept} kept"


def _rows(dsn: str, query: LiteralString) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(query).fetchall()


def _microseconds(timestamp: Any) -> int:  # noqa: ANN401 - any JSON value
    if isinstance(timestamp, int):
        return timestamp * 1000
    moment = datetime.fromisoformat(timestamp).astimezone(UTC)
    elapsed = moment - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _some(invariant: str, what: str, found: Iterable[object]) -> Iterator[str]:
    """One sentence for all of a kind: how many, and the first few."""
    names = sorted(map(str, found))
    if names:
        examples = ", ".join(names[:EXAMPLES_MAX])
        yield f"{invariant}: {len(names)} {what}: {examples}{' …' if len(names) > EXAMPLES_MAX else ''}"

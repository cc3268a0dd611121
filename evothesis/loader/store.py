"""Store: formatted rows in, COPY into the day's partitions out; within the load's transaction."""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from psycopg import sql

from evothesis import pg
from evothesis.event import COLUMNS, REJECTED_COLUMNS
from evothesis.loader.content import Content
from evothesis.loader.dedup import Verdict
from evothesis.loader.fit import quarantined
from evothesis.spool.segments import Segment

_EVENTS = ("writer", "segment_no", "idx", "event_id_reused", *COLUMNS)
_REJECTED = ("writer", "segment_no", "idx", *REJECTED_COLUMNS)


class _Line(NamedTuple):
    idx: int
    text: bytes


class _Refused(NamedTuple):
    idx: int
    sqlstate: str
    reason: str


def store(
    connection: pg.Connection, segment: Segment, content: Content, verdict: Verdict, *, careful: bool
) -> frozenset[int]:
    """Copy what is new, and what the collector refused. Returns the numbers of rows that the database refused."""
    prefix = b"%d\t%d" % (segment.writer, segment.segment_no)
    kept = verdict.fresh | verdict.reused if verdict.reused else verdict.fresh
    stored = content.rows if len(kept) == len(content.rows) else [part for part in content.rows if part[0] in kept]
    texts = [
        b"%b\t%d\t%b\t%b\n" % (prefix, idx, b"t" if idx in verdict.reused else b"f", row.line) for idx, row in stored
    ]
    rejected = [b"%b\t%d\t%b\n" % (prefix, idx, line.line) for idx, line in content.rejected]
    # the day's partition itself: a segment lies within one hour, and routing each row costs time
    into_events = _copy_into(f"events_log_{content.day:%Y%m%d}", _EVENTS)
    into_rejected = _copy_into(f"rejected_events_{content.day:%Y%m%d}", _REJECTED)
    if not careful:
        _copy(connection, into_events, texts)
        _copy(connection, into_rejected, rejected)
        return frozenset()
    events = [_Line(idx, text) for (idx, _), text in zip(stored, texts, strict=True)]
    others = [_Line(idx, text) for (idx, _), text in zip(content.rejected, rejected, strict=True)]
    refused = _sift(connection, into_events, events)
    sites = {idx: row.site_id for idx, row in content.rows}
    sent = {line.idx: line.text for line in [*events, *others]}
    quarantine = []
    for idx, sqlstate, reason in [*refused, *_sift(connection, into_rejected, others)]:
        row = quarantined(content, sites.get(idx), f"{sqlstate}: {reason}", sent[idx])
        quarantine.append(b"%b\t%d\t%b\n" % (prefix, idx, row.line))
    _copy(connection, into_rejected, quarantine)
    return frozenset(line.idx for line in refused)


def _copy_into(partition: str, columns: tuple[str, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(partition), names)


def _copy(connection: pg.Connection, query: sql.Composed, lines: list[bytes]) -> None:
    if lines:
        with connection.cursor() as cursor, cursor.copy(query) as copy:
            copy.write(b"".join(lines))


def _sift(connection: pg.Connection, query: sql.Composed, lines: list[_Line]) -> list[_Refused]:
    """Copy all lines but those that are to blame for an error, which are found by halving."""
    try:
        with connection.transaction():  # a savepoint
            _copy(connection, query, [line.text for line in lines])
    except psycopg.Error as error:
        if not pg.is_poison(error):
            raise
        if len(lines) == 1:
            reason = str(error).partition("\n")[0]
            return [_Refused(lines[0].idx, error.sqlstate or "", reason)]
        half = len(lines) // 2
        return _sift(connection, query, lines[:half]) + _sift(connection, query, lines[half:])
    return []

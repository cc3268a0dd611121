"""Metrics: what processes counted and what the database knows in, Prometheus' text out.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import psycopg
from aiohttp import web
from psycopg_pool import PoolTimeout

from evothesis import heartbeat, pg
from evothesis.admin.desk import Asked, Desk
from evothesis.admin.query import Query, parse
from evothesis.config import Config
from evothesis.errors import EvothesisError
from evothesis.exporter.status import Status, status
from evothesis.numbers import METRICS, Counter, Histogram, place, places
from evothesis.spool.segments import backlog

CONTENT_TYPE = "text/plain; version=0.0.4"

ATTEMPTS = """
select destination, count(*) filter (where state = 'published') as published, sum(attempts)::bigint as failed
  from deliveries group by destination
"""
DIFFERENCES = """
-- of the newest segments only: what is right when it is committed stays right, and this is asked every few seconds
with newest as (
  select l.* from writers w cross join lateral (
    select * from loads l where l.writer = w.writer order by l.segment_no desc limit 20
  ) l where l.first_received_at > now() - interval '10 minutes' and not l.lost
), billed as (
  select u.writer, u.segment_no, sum(u.accepted) as accepted
    from newest join usage_ledger u using (writer, segment_no) group by 1, 2
), stored as (
  select e.writer, e.segment_no, count(*) as accepted
    from events_log e where e.created_at >= (select min(first_received_at) from newest) group by 1, 2
)
select coalesce(sum(abs(n.accepted - coalesce(b.accepted, 0))), 0)::bigint as loads_usage,
       coalesce(sum(abs(n.accepted - coalesce(s.accepted, 0))), 0)::bigint as loads_events,
       (select coalesce(sum(abs(w.next_segment_no - 1 - coalesce(
                 (select max(l.segment_no) from loads l where l.writer = w.writer), -1))), 0)::bigint
          from writers w) as loads_positions
  from newest n left join billed b using (writer, segment_no) left join stored s using (writer, segment_no)
"""


class Gauge(NamedTuple):
    """A number that is looked up when it is asked for, for each value of its label."""

    name: str
    help: str
    label: str = ""
    kind: str = "gauge"


SPOOL_BYTES = Gauge("evothesis_spool_bytes", "Of segments that the database does not have yet.")
SPOOL_BYTES_MAX = Gauge("evothesis_spool_bytes_max", "Above it no events are taken: spool.bytes_max.")
SPOOL_SEGMENTS = Gauge("evothesis_spool_segments", "Segments that the database does not have yet.")
SPOOL_OLDEST = Gauge(
    "evothesis_spool_oldest_seconds", "For how long the oldest complete segment waits: the loader's lag."
)
HEARTBEAT = Gauge("evothesis_loader_heartbeat_seconds", "Since the loader's last sign of life.")
DATABASE = Gauge("evothesis_database_up", "1: the database answered this request; 0: it did not.")
POOL = Gauge("evothesis_pool_connections", "Connections of the operator's API to the database.", "state")
EXPORT_LAG = Gauge(
    "evothesis_export_lag_seconds", "Since the oldest event was stored that is not delivered.", "destination"
)
EXPORT_EVENTS = Gauge("evothesis_export_lag_events", "Stored events that are not delivered.", "destination")
EXPORT_FAILURES = Gauge("evothesis_export_failures", "Exports to the destination that failed in a row.", "destination")
EXPORT_SUCCESS = Gauge(
    "evothesis_export_success_timestamp_seconds", "When an export to the destination went well.", "destination"
)
FILES = Gauge("evothesis_export_files_total", "Files that are delivered.", "destination", "counter")
FILES_FAILED = Gauge(
    "evothesis_export_attempts_failed_total", "Attempts to deliver a file that failed.", "destination", "counter"
)
DIFFERENCE = Gauge(
    "evothesis_invariant_difference", "Events that two records disagree about, in the newest segments.", "invariant"
)
GAUGES = (
    SPOOL_BYTES,
    SPOOL_BYTES_MAX,
    SPOOL_SEGMENTS,
    SPOOL_OLDEST,
    HEARTBEAT,
    DATABASE,
    POOL,
    EXPORT_LAG,
    EXPORT_EVENTS,
    EXPORT_FAILURES,
    EXPORT_SUCCESS,
    FILES,
    FILES_FAILED,
    DIFFERENCE,
)
Found = dict[Gauge, dict[str, float]]


async def metrics(asked: Asked) -> web.Response:
    """Numbers for Prometheus; docs/metrics.md says what each of them means."""
    parse(asked.request, Query)
    desk = asked.desk
    found: Found = _spool(desk.config)
    try:
        found |= await _database(desk)
    except (psycopg.Error, PoolTimeout, EvothesisError):
        found[DATABASE] = {"": 0}
    text = "".join([*_counted(desk.board.total()), *_looked_up(found)])
    return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})


def _spool(config: Config) -> Found:
    waiting = backlog(config.spool.path)
    found: Found = {
        SPOOL_BYTES: {"": waiting.size_bytes},
        SPOOL_BYTES_MAX: {"": config.spool.bytes_max},
        SPOOL_SEGMENTS: {"": waiting.segments},
        SPOOL_OLDEST: {"": max(0, time.time() - waiting.waiting_since) if waiting.waiting_since else 0},
    }
    if beat := heartbeat.read(config.spool.path):
        found[HEARTBEAT] = {"": max(0, time.time() - beat.at)}
    return found


async def _database(desk: Desk) -> Found:
    states = await desk.report(partial(status, desk.config))
    attempts, differences = await desk.report(_ask)
    statistics: Mapping[str, int] = desk.connections.get_stats()
    known = {state.destination for state in states}
    counted = {row["destination"]: row for row in attempts if row["destination"] in known}
    return {
        DATABASE: {"": 1},
        POOL: {
            "open": statistics.get("pool_size", 0),
            "idle": statistics.get("pool_available", 0),
            "waited_for": statistics.get("requests_waiting", 0),
        },
        EXPORT_LAG: {state.destination: state.lag.seconds for state in states},
        EXPORT_EVENTS: {state.destination: state.lag.events for state in states},
        EXPORT_FAILURES: {state.destination: state.failures for state in states},
        EXPORT_SUCCESS: dict(_successes(states)),
        FILES: {name: row["published"] for name, row in counted.items()},
        FILES_FAILED: {name: row["failed"] for name, row in counted.items()},
        DIFFERENCE: differences,
    }


def _successes(states: Iterable[Status]) -> Iterator[tuple[str, float]]:
    for state in states:
        if isinstance(state.succeeded_at, datetime):
            yield state.destination, state.succeeded_at.timestamp()


def _ask(connection: pg.Connection) -> tuple[list[dict[str, Any]], dict[str, float]]:
    return connection.execute(ATTEMPTS).fetchall(), pg.one(connection, DIFFERENCES)


def _counted(numbers: list[float]) -> Iterator[str]:
    for metric in METRICS:
        yield _head(metric.name, metric.help, "counter" if isinstance(metric, Counter) else "histogram")
        if isinstance(metric, Histogram):
            yield from _histogram(metric, numbers)
        else:
            for value in metric.values:
                yield _line(metric.name, {metric.label: value}, numbers[place(metric, value)])


def _histogram(metric: Histogram, numbers: list[float]) -> Iterator[str]:
    first, bounds, total = places(metric)
    count = 0.0
    for bound, number in zip((*bounds, "+Inf"), numbers[first:total], strict=True):
        count += number
        yield _line(f"{metric.name}_bucket", {"le": str(bound)}, count)
    yield _line(f"{metric.name}_sum", {}, numbers[total])
    yield _line(f"{metric.name}_count", {}, count)


def _looked_up(found: Found) -> Iterator[str]:
    for gauge in GAUGES:
        if gauge in found:
            yield _head(gauge.name, gauge.help, gauge.kind)
            for value, number in found[gauge].items():
                yield _line(gauge.name, {gauge.label: value}, number)


def _head(name: str, text: str, kind: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _line(name: str, labels: Mapping[str, str], number: float) -> str:
    """The values of labels are names of ours, none of which holds what would have to be escaped."""
    told = ",".join(f'{label}="{value}"' for label, value in labels.items() if label)
    return f"{name}{{{told}}} {number:.17g}\n" if told else f"{name} {number:.17g}\n"

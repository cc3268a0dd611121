"""Health: each part of the appliance, and why it is not well."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
from aiohttp import web

from evothesis import heartbeat
from evothesis.admin.deliveries import Delivery
from evothesis.admin.desk import Asked, answer
from evothesis.admin.query import Query, parse
from evothesis.spool.segments import backlog, sealed

SPOOL_WARN_SHARE = 0.7

LOADER_TODO = "`serve` starts it again by itself; when it does not stay, its log says why"
DATABASE_TODO = "events are kept in the spool meanwhile; look at PostgreSQL, then run `evothesis doctor`"
SPOOL_TODO = "nothing is lost meanwhile; the log of the loader says more"
FULL_TODO = "let the loader catch up, or raise spool.bytes_max: above it senders are told to come back"
EXPORT_TODO = "`evothesis export status` says why, and what to try; nothing is lost meanwhile"
BUDGET_TODO = "nothing is dropped; see who sends it, or raise limits.events_per_site_and_day"


class Spool(msgspec.Struct):
    """What waits for the loader."""

    bytes: int
    bytes_max: int
    waiting_segments: int
    oldest_seconds: float


class Loader(msgspec.Struct):
    """When the loader gave its last sign of life, null when it never did."""

    seen_seconds_ago: float | None


class Database(msgspec.Struct):
    """Why the loader does not reach it, null when it does."""

    reason: str | None


class Advice(msgspec.Struct):
    """One of the reasons or warnings, and what to do about it."""

    what: str
    todo: str


class Health(msgspec.Struct):
    """`reasons`: why it is degraded. `warnings`: what wants a look, and stops nothing. `advice`: what to do of both."""

    status: Literal["ok", "degraded"]
    reasons: list[str]
    warnings: list[str]
    advice: list[Advice]
    spool: Spool
    loader: Loader
    database: Database
    exports: list[Delivery] | None
    sites_over_budget: tuple[str, ...]


async def health(asked: Asked) -> web.Response:
    """Whether events are stored: 503 when they are not. Told to anybody, for monitors have no token."""
    parse(asked.request, Query)
    config = asked.desk.config
    waiting = backlog(config.spool.path)
    spool = Spool(
        bytes=waiting.size_bytes,
        bytes_max=config.spool.bytes_max,
        waiting_segments=len(sealed(config.spool.path)),
        oldest_seconds=round(time.time() - waiting.waiting_since, 1) if waiting.waiting_since else 0,
    )
    beat = heartbeat.read(config.spool.path)
    age = round(time.time() - beat.at, 1) if beat else None
    names = [destination.name for destination in config.export.destination]
    exports = await asked.desk.deliveries.of(names, asked.desk.connections)
    reasons = [
        Advice("the loader is not running", LOADER_TODO)
        if age is None or age > heartbeat.STALE_AFTER_SECONDS
        else None,
        Advice(beat.database_error, DATABASE_TODO) if beat and beat.database_error else None,
        Advice(beat.spool_error, beat.spool_hint or SPOOL_TODO) if beat and beat.spool_error else None,
    ]
    found = [reason for reason in reasons if reason]
    over = beat.sites_over_budget if beat else ()
    is_full = spool.bytes > SPOOL_WARN_SHARE * spool.bytes_max
    warnings = [
        *([Advice("the spool is filling up", FULL_TODO)] if is_full else []),
        *(
            Advice(f"destination {line.destination} failed {line.failures} times", EXPORT_TODO)
            for line in exports or ()
            if line.failures
        ),
        *(Advice(f"{site} is over its budget", BUDGET_TODO) for site in over),
    ]
    report = Health(
        status="degraded" if found else "ok",
        reasons=[reason.what for reason in found],
        warnings=[warning.what for warning in warnings],
        advice=[*found, *warnings],
        spool=spool,
        loader=Loader(age),
        database=Database(beat.database_error if beat else None),
        exports=exports,
        sites_over_budget=over,
    )
    return answer(report, status=503 if found else 200)

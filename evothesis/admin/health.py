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


class Health(msgspec.Struct):
    """`reasons`: why it is degraded. `warnings`: what wants a look, and stops nothing."""

    status: Literal["ok", "degraded"]
    reasons: list[str]
    warnings: list[str]
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
    failing = [
        f"destination {line.destination} failed {line.failures} times" for line in exports or () if line.failures
    ]
    is_gone = age is None or age > heartbeat.STALE_AFTER_SECONDS
    reasons = [
        "the loader is not running" if is_gone else None,
        beat.database_error if beat else None,
        beat.spool_error if beat else None,
    ]
    found = [reason for reason in reasons if reason]
    is_full = spool.bytes > SPOOL_WARN_SHARE * spool.bytes_max
    over = beat.sites_over_budget if beat else ()
    report = Health(
        status="degraded" if found else "ok",
        reasons=found,
        warnings=[
            *(["the spool is filling up"] if is_full else []),
            *failing,
            *(f"{s} is over its budget" for s in over),
        ],
        spool=spool,
        loader=Loader(age),
        database=Database(beat.database_error if beat else None),
        exports=exports,
        sites_over_budget=over,
    )
    return answer(report, status=503 if found else 200)

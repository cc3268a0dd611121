"""Routes: the one table of what can be asked, and with which scope. Router, rights and description follow it."""

from __future__ import annotations

from aiohttp import web

from evothesis.admin import events, page, reports, tag
from evothesis.admin.desk import Asked, answer
from evothesis.admin.health import Health, health
from evothesis.admin.metrics import metrics
from evothesis.admin.objectives import Objectives
from evothesis.admin.openapi import document
from evothesis.admin.query import Query, parse
from evothesis.admin.route import Route
from evothesis.admin.stream import Message, StreamQuery, stream
from evothesis.admin.traffic import Traffic


async def description(asked: Asked) -> web.Response:
    """What can be asked, for programs: this document."""
    parse(asked.request, Query)
    return answer(document(ROUTES))


ROUTES = (
    Route("GET", "/", None, page.page, answer=str, content_type="text/html"),
    Route("GET", "/health", None, health, answer=Health, statuses=(200, 503)),
    Route("GET", "/openapi.json", "read", description),
    Route("GET", "/metrics", "read", metrics, answer=str, content_type="text/plain"),
    Route("GET", "/events/count", "read", events.count, events.CountQuery, events.Counted),
    Route("GET", "/events/recent", "read", events.recent, events.RecentQuery, events.Page),
    Route("GET", "/events/rejected", "read", events.rejected, events.RejectedQuery, events.Page),
    Route("GET", "/events/traffic", "read", events.traffic, answer=Traffic),
    Route("GET", "/stream", "read", stream, StreamQuery, Message, statuses=(101,)),
    Route("GET", "/usage", "read", reports.usage, reports.UsageQuery),
    Route("GET", "/sites", "read", reports.sites, reports.SitesQuery, reports.Sites),
    Route("GET", "/objectives", "read", reports.objectives, answer=Objectives),
    Route("GET", "/tag", "read", tag.tag, tag.TagQuery, tag.Tag),
    Route("GET", "/export/status", "read", reports.export_status),
    Route("GET", "/export/config", "admin", reports.export_config),
    Route("POST", "/export/run", "export", reports.export_run, statuses=(202,)),
)

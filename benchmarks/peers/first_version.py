"""First version: FastAPI and SQLAlchemy before one table with three B-trees, an answer after the commit.

Two applications, `bulk` (one commit a request) and `single` (one commit an event). Both have what helps them: uvloop,
httptools, a worker for each core, a pool, Pydantic's own JSON parser, and the session is used in the event loop, as
a thread for each request was a third slower. They check types, as FastAPI does; nothing is redacted or deduplicated.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import create_engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.types import DateTime, Integer, String, Text

POOL_SIZE = 10  # for each of two workers; the cluster takes 40


class Said(BaseModel):
    """An event as it is sent."""

    model_config = ConfigDict(alias_generator=to_camel)

    event_type: str = Field(max_length=50)
    event_id: UUID
    timestamp: datetime
    url: str
    path: str = Field(max_length=500)
    data: dict[str, Any]


class Batch(BaseModel):
    """A request's body."""

    model_config = ConfigDict(alias_generator=to_camel)

    session_id: str
    visitor_id: str
    site_id: str = Field(max_length=100)
    events: list[Said]


class Base(DeclarativeBase):
    """The declared tables."""


class EventLog(Base):
    """A row of the first version; `event_id` and `created_at` have defaults in the database."""

    __tablename__ = "events_log"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    event_id: Mapped[str] = mapped_column(postgresql.UUID(as_uuid=False))
    event_type: Mapped[str] = mapped_column(String(50))
    session_id: Mapped[str | None] = mapped_column(Text)
    visitor_id: Mapped[str | None] = mapped_column(Text)
    site_id: Mapped[str | None] = mapped_column(String(100))
    timestamp: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    url: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(String(500))
    user_agent: Mapped[str | None] = mapped_column(Text)
    ip_address: Mapped[str | None] = mapped_column(postgresql.INET)
    raw_event_data: Mapped[dict[str, Any]] = mapped_column(postgresql.JSONB)


def application(store: Callable[[list[dict[str, Any]]], None]) -> FastAPI:
    """An application whose one route keeps events with `store`."""
    served = FastAPI()

    @served.post("/collect")
    async def collect(request: Request) -> Response:
        batch = Batch.model_validate_json(await request.body())
        address = request.client.host if request.client else None
        store(mappings(batch, request.headers.get("user-agent"), address))
        return Response(b'{"status":"ok"}', media_type="application/json")

    return served


def mappings(batch: Batch, user_agent: str | None, address: str | None) -> list[dict[str, Any]]:
    """A request's events as rows."""
    return [
        {
            "event_id": str(event.event_id),
            "event_type": event.event_type,
            "session_id": batch.session_id,
            "visitor_id": batch.visitor_id,
            "site_id": batch.site_id,
            "timestamp": event.timestamp,
            "url": event.url,
            "path": event.path,
            "user_agent": user_agent,
            "ip_address": address,
            "raw_event_data": event.model_dump(mode="json", by_alias=True),
        }
        for event in batch.events
    ]


def _sessions() -> sessionmaker[Session]:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(os.environ["FIRST_VERSION_DATABASE"]),
        pool_size=POOL_SIZE,
        max_overflow=0,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
    )
    return sessionmaker(engine, expire_on_commit=False)


def _bulk(rows: list[dict[str, Any]]) -> None:
    with session_of() as session:
        session.bulk_insert_mappings(EventLog, rows)
        session.commit()


def _single(rows: list[dict[str, Any]]) -> None:
    with session_of() as session:
        for row in rows:
            session.bulk_insert_mappings(EventLog, [row])
            session.commit()


session_of = _sessions()
bulk = application(_bulk)
single = application(_single)

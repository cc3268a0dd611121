"""As shipped: the first version as one writes it from the manuals of FastAPI and SQLAlchemy, before anybody tunes it.

The model, the table and the rows are those of the tuned one. The rest is the usual: psycopg2, an engine with its own
pool, a session for each request from a dependency, a plain `def` that FastAPI runs in its threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated

import psycopg2
from fastapi import Depends, FastAPI, Header, Request
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.peers.first_version import Batch, EventLog, mappings

engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(os.environ["FIRST_VERSION_DATABASE"]))
SessionLocal = sessionmaker(engine)

bulk = FastAPI()
single = FastAPI()


def get_db() -> Iterator[Session]:
    """The session of a request."""
    with SessionLocal() as db:
        yield db


Db = Annotated[Session, Depends(get_db)]
UserAgent = Annotated[str | None, Header()]


@bulk.post("/collect")
def collect(batch: Batch, request: Request, db: Db, user_agent: UserAgent = None) -> dict[str, str]:
    """One commit for a request."""
    db.bulk_insert_mappings(EventLog, mappings(batch, user_agent, request.client.host))
    db.commit()
    return {"status": "ok"}


@single.post("/collect")
def collect_singly(batch: Batch, request: Request, db: Db, user_agent: UserAgent = None) -> dict[str, str]:
    """One commit for each event."""
    for row in mappings(batch, user_agent, request.client.host):
        db.bulk_insert_mappings(EventLog, [row])
        db.commit()
    return {"status": "ok"}

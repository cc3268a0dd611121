"""Prepare: a destination that gets its first file in, what its store can do, and a guide for its readers, out.

What was found is remembered until the destination is configured to be somewhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path

from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.config import Destination
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.encode import NEUTRALISED
from evothesis.exporter.selection import Selection
from evothesis.exporter.store import Store

log = logging.getLogger(__name__)

README = "README.md"
SCHEMA = "schema.json"

KNOWN = "select conditional, guide_version, selection from destinations where name = %(name)s and place = %(place)s"
REMEMBER = """
insert into destinations (name, place, conditional, probed_at, guide_version, selection)
values (%(name)s, %(place)s, %(conditional)s, now(), %(guide_version)s, %(selection)s)
on conflict (name) do update set place = excluded.place, conditional = excluded.conditional,
  probed_at = excluded.probed_at, guide_version = excluded.guide_version, selection = excluded.selection
"""
GUIDE = """\
# Web behaviour events of {instance}

Written by Evothesis, which delivers each event once.

    events/dt=2026-11-22/hr=09/…    the events of a UTC hour, by the time at which the server received them
    manifests/00000001.json …       which files there are: rows, sizes, SHA-256; signed, each names the one before
    latest.json                     the newest manifest and the totals; its age tells whether deliveries go on
    schema.json                     the columns of the files

**Read what the manifests list.** A crash may leave an object under `events/` that none of them names; it is not part
of the data. Files and manifests are never changed.

`evothesis export verify s3://this/prefix` reads everything, needs no other access than to read and list, and says
whether something is missing, damaged, swapped or forged. The queries for DuckDB, Athena, Snowflake, BigQuery, Redshift,
ClickHouse and Spark stand in docs/bucket.md of the project.
"""


def prepare(connection: pg.Connection, destination: Destination, store: Store, *, instance: str) -> None:
    """Tell the store how to create objects. May raise DeliveryError and UnreachableError."""
    selection = Selection.of(destination)
    place = f"{destination.endpoint} {destination.url}".strip()
    known = connection.execute(KNOWN, {"name": destination.name, "place": place}).fetchone()
    if known and known["conditional"] is not None:
        store.is_conditional = known["conditional"]
        if (known["guide_version"], known["selection"]) == (SCHEMA_VERSION, selection.document):
            return
        store.replace(README, readme(instance))
    else:
        # tried with the guide: credentials that may not delete could not remove another object
        store.is_conditional = _probe(store, readme(instance))
        if not store.is_conditional:
            log.warning(
                "Store overwrites objects although it is told not to: it is looked at before each one is put.",
                extra={"destination": destination.name},
            )
    store.replace(SCHEMA, _schema(selection))
    connection.execute(
        REMEMBER,
        {"name": destination.name, "place": place}
        | {"conditional": store.is_conditional, "guide_version": SCHEMA_VERSION}
        | {"selection": Jsonb(selection.document)},
    )


def _probe(store: Store, body: bytes) -> bool:
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        return store.probe(README, Path(file.name), hashlib.sha256(body).digest())


def readme(instance: str) -> bytes:
    """The guide."""
    return GUIDE.format(instance=instance).encode()


def _schema(selection: Selection) -> bytes:
    """The columns, as a program reads them."""
    columns = [column._asdict() for column in selection.delivered(SCHEMA_VERSION)]
    document = {"schema_version": SCHEMA_VERSION, "columns": columns, "csv": {"neutralised": NEUTRALISED}}
    return json.dumps(document, indent=2, ensure_ascii=False).encode()

"""Adopt: manifests that a bucket has and the database has forgotten in, a ledger that knows them out.

A database that was restored from an older backup has loaded the kept segments again, but does not know what was
delivered since. The bucket does. What it lists is taken over before anything is planned, so that nothing is delivered
twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb

from evothesis import pg
from evothesis.config import Destination
from evothesis.errors import DeliveryError, HistoryError
from evothesis.exporter import ledger, manifest
from evothesis.exporter.plan import Chunk, Range
from evothesis.exporter.selection import Selection
from evothesis.exporter.store import Store

log = logging.getLogger(__name__)

NEWEST = """
select sequence, sha256 from manifests
 where destination = %(destination)s and published_at is not null order by sequence desc limit 1
"""
LOADS = """
select count(*) as loads, count(distinct l.hour) as hours, min(l.hour) as hour, sum(l.accepted)::bigint as rows,
       min(l.first_received_at) as first_received_at, max(l.last_received_at) as last_received_at,
       sha256(string_agg(l.sha256, '' order by l.writer, l.segment_no)) as sha256
  from unnest(%(writers)s::integer[], %(firsts)s::bigint[], %(lasts)s::bigint[]) as r (writer, first, last)
  join loads l on l.writer = r.writer and l.segment_no between r.first and r.last
"""
KNOWN = "select export_key from exports where export_key = any(%(keys)s)"
RECORD = """
insert into manifests (destination, sequence, key, body, sha256, rows, files, bytes, created_at, published_at)
values (%(destination)s, %(sequence)s, %(key)s, %(body)s, %(sha256)s, %(rows)s, %(files)s, %(bytes)s, %(created_at)s,
        now())
"""
DELIVERED = """
-- also in a format that the configuration no longer names
insert into deliveries (destination, export_id, format, key, state, rows, bytes, sha256, schema_version, selection,
                        manifest_sequence)
select %(destination)s, e.export_id, %(format)s, %(key)s, 'published', %(rows)s, %(bytes)s, decode(%(sha256)s, 'hex'),
       %(schema_version)s, %(selection)s, %(sequence)s
  from exports e where e.export_key = %(export_key)s
on conflict (destination, export_id, format) do update
   set state = 'published', key = excluded.key, rows = excluded.rows, bytes = excluded.bytes, sha256 = excluded.sha256,
       schema_version = excluded.schema_version, selection = excluded.selection,
       manifest_sequence = excluded.manifest_sequence, changed_at = now()
"""
EMPTY = """
update deliveries d
   set state = 'published', rows = 0, selection = %(selection)s, manifest_sequence = %(sequence)s, changed_at = now()
  from exports e
 where e.export_id = d.export_id and d.destination = %(destination)s and e.export_key = %(export_key)s
"""


def adopt(
    connection: pg.Connection, destination: Destination, store: Store, *, instance: str, key: Ed25519PrivateKey
) -> None:
    """Take over manifests that follow the newest known one.

    Raises DeliveryError when they are somebody else's, HistoryError when they are ours and do not fit the database.
    """
    name = destination.name
    while True:
        newest = connection.execute(NEWEST, {"destination": name}).fetchone()
        sequence = newest["sequence"] + 1 if newest else 1
        body = store.read(manifest.key_of(sequence))
        if body is None or _is_planned(connection, name, sequence, body):
            return
        document = _checked(body, name, sequence, instance, key)
        if document["previous_sha256"] != (newest["sha256"].hex() if newest else None):
            message = f"{name}: {manifest.key_of(sequence)} does not follow the manifest that the database knows"
            raise HistoryError(message, hint="restore a newer database")
        with connection.transaction():
            _take_over(connection, destination, document, body)
        log.warning("Manifest adopted from the bucket.", extra={"destination": name, "manifest": sequence})


def _is_planned(connection: pg.Connection, destination: str, sequence: int, body: bytes) -> bool:
    """Whether it is the manifest that an earlier run put, and had no time to record as published."""
    row = connection.execute(
        "select sha256 from manifests where destination = %(destination)s and sequence = %(sequence)s",
        {"destination": destination, "sequence": sequence},
    ).fetchone()
    return row is not None and row["sha256"] == hashlib.sha256(body).digest()


def _checked(body: bytes, destination: str, sequence: int, instance: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if (
        not isinstance(document, dict)
        or not manifest.is_authentic(document)
        or document["public_key"] != manifest.public_key(key)
        or (document["instance"], document["sequence"]) != (instance, sequence)
    ):
        message = f"{destination}: {manifest.key_of(sequence)} exists and is not ours"
        raise DeliveryError(message, hint="give each instance its own prefix; keep its signing key")
    return document


def _take_over(connection: pg.Connection, destination: Destination, document: dict[str, Any], body: bytes) -> None:
    instance, files = document["instance"], document["files"]
    chunks = [_checked_chunk(connection, destination.name, file) for file in files]
    # chunks of which nothing was selected, and hours without an event, have no file
    not_selected = [
        (_checked_chunk(connection, destination.name, part), part) for part in document.get("not_selected", [])
    ]
    covered = {part for chunk in [*chunks, *(chunk for chunk, _ in not_selected)] for part in chunk.ranges}
    rest = [part for part in document["loads"] if Range(**_named(part)) not in covered]
    empty = [*not_selected, *((_empty_chunk(connection, destination.name, part), {}) for part in rest)]
    unknown = {chunk.key(instance): chunk for chunk in [*chunks, *(chunk for chunk, _ in empty)]}
    for row in connection.execute(KNOWN, {"keys": list(unknown)}).fetchall():
        del unknown[row["export_key"]]
    ledger.plan(connection, list(unknown.values()), instance=instance)
    name = {"destination": destination.name, "sequence": document["sequence"]}
    connection.execute(
        RECORD,
        name
        | {
            "key": manifest.key_of(document["sequence"]),
            "body": body,
            "sha256": hashlib.sha256(body).digest(),
            "rows": document["rows"],
            "files": len(files),
            "bytes": sum(file["bytes"] for file in files),
            "created_at": document["created_at"],
        },
    )
    for file, chunk in zip(files, chunks, strict=True):
        delivered = {"export_key": chunk.key(instance), "selection": Jsonb(file.get("selection", {}))}
        connection.execute(DELIVERED, name | file | delivered)
    ledger.add_deliveries(connection, destination, Selection.of(destination))  # formats that the bucket has not
    for chunk, part in empty:
        without = {"export_key": chunk.key(instance), "selection": Jsonb(part.get("selection", {}))}
        connection.execute(EMPTY, name | without)


def _checked_chunk(connection: pg.Connection, destination: str, part: dict[str, Any]) -> Chunk:
    """The chunk of which the bucket has a file, or would have one if something of it were selected."""
    what = part.get("key", "a chunk without a file")
    chunk, sha256 = _chunk(connection, destination, part["loads"])
    if not part.get("selection") and chunk.rows != part["rows"]:
        message = f"{destination}: {what} has {part['rows']} rows, its loads have {chunk.rows} here"
        raise HistoryError(message, hint="the database is not the one that delivered this file")
    # a machine that went back to a snapshot gives the same numbers, and maybe as many rows, to other events
    if sha256 != part.get("loads_sha256"):
        message = f"{destination}: {what} was made of other segments than the database has"
        raise HistoryError(message, hint="was the machine set back? give it another instance name and prefix")
    return chunk


def _empty_chunk(connection: pg.Connection, destination: str, part: dict[str, int]) -> Chunk:
    chunk, _ = _chunk(connection, destination, [part])
    if chunk.rows:
        message = f"{destination}: the bucket lists loads without a row which have {chunk.rows} here"
        raise HistoryError(message, hint="the database is not the one that delivered this manifest")
    return chunk


def _named(part: dict[str, int]) -> dict[str, int]:
    return {"writer": part["writer"], "first_segment_no": part["first"], "last_segment_no": part["last"]}


def _chunk(connection: pg.Connection, destination: str, loads: list[dict[str, int]]) -> tuple[Chunk, str]:
    """The chunk that a file was made of, as the database knows its loads now, and the digest of their contents."""
    parameters = {f"{name}s": [part[name] for part in loads] for name in ("writer", "first", "last")}
    row = pg.one(connection, LOADS, parameters)
    expected = sum(part["last"] - part["first"] + 1 for part in loads)
    if row["loads"] != expected or row["hours"] != 1:
        message = f"{destination}: the bucket lists {expected} loads of which the database has {row['loads']}"
        raise HistoryError(message, hint="wait until the loader has caught up, or restore a newer database")
    ranges = tuple(Range(**_named(part)) for part in loads)
    chunk = Chunk(row["hour"], ranges, row["rows"], row["first_received_at"], row["last_received_at"])
    return chunk, row["sha256"].hex()

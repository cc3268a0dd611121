"""Publish: stored files in, one manifest more in a destination's chain out."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evothesis import pg
from evothesis.exporter import ledger, manifest
from evothesis.exporter.encode import NEUTRALISED
from evothesis.exporter.store import Store, bring

log = logging.getLogger(__name__)

UNPUBLISHED = """
select sequence, key, body, sha256, rows, files, bytes, created_at
  from manifests where destination = %(destination)s and published_at is null order by sequence
"""
NEWEST = "select sequence, sha256 from manifests where destination = %(destination)s order by sequence desc limit 1"
STORED = """
-- a chunk is listed when all of its files are there; one whose loads an earlier manifest lists gets a format later
select d.export_id, d.format, d.key, d.rows, d.bytes, d.sha256, d.rows_by_site, d.schema_version, d.selection,
       exists (select from deliveries o where o.destination = d.destination and o.export_id = d.export_id
                  and o.state = 'published') as was_listed
  from deliveries d
 where d.destination = %(destination)s and d.state = 'stored'
   and not exists (select from deliveries o where o.destination = d.destination and o.export_id = d.export_id
                      and o.state in ('planned', 'rendered'))
 order by d.export_id, d.format
"""
RANGES = """
select export_id, writer, first_segment_no as first, last_segment_no as last
  from export_ranges where export_id = any(%(exports)s) order by writer, first_segment_no
"""
CONTENTS = """
select r.export_id, sha256(string_agg(l.sha256, '' order by l.writer, l.segment_no)) as sha256
  from export_ranges r
  join loads l on l.writer = r.writer and l.segment_no between r.first_segment_no and r.last_segment_no
 where r.export_id = any(%(exports)s)
 group by r.export_id
"""
RECORD = """
insert into manifests (destination, sequence, key, body, sha256, rows, files, bytes, created_at)
values (%(destination)s, %(sequence)s, %(key)s, %(body)s, %(sha256)s, %(rows)s, %(files)s, %(bytes)s, %(created_at)s)
"""
ASSIGN = """
update deliveries set manifest_sequence = %(sequence)s
 where destination = %(destination)s and state = 'stored' and export_id = any(%(exports)s)
"""
PUBLISHED = """
with published as (
  update manifests set published_at = now() where destination = %(destination)s and sequence = %(sequence)s
)
update deliveries set state = 'published', changed_at = now()
 where destination = %(destination)s and manifest_sequence = %(sequence)s
"""
TOTALS = """
select sum(rows)::bigint as rows, sum(files)::bigint as files, sum(bytes)::bigint as bytes
  from manifests where destination = %(destination)s and sequence <= %(sequence)s
"""


class Published(NamedTuple):
    """A manifest that now lies in the bucket."""

    destination: str
    manifest: int
    rows: int
    files: int
    bytes: int


def publish(
    connection: pg.Connection, destination: str, store: Store, *, instance: str, key: Ed25519PrivateKey
) -> list[Published]:
    """Finish manifests that an earlier run began, then list what was stored since. Raises DeliveryError.

    A manifest's bytes are recorded before they are put, so that an attempt after a crash puts the same ones.
    """
    done = [_put(connection, destination, store, row, instance) for row in _unpublished(connection, destination)]
    if _record(connection, destination, instance=instance, key=key):
        done += [_put(connection, destination, store, row, instance) for row in _unpublished(connection, destination)]
    return done


def _unpublished(connection: pg.Connection, destination: str) -> list[dict[str, Any]]:
    return connection.execute(UNPUBLISHED, {"destination": destination}).fetchall()


def _record(connection: pg.Connection, destination: str, *, instance: str, key: Ed25519PrivateKey) -> bool:
    with connection.transaction():
        files = connection.execute(STORED, {"destination": destination}).fetchall()
        if not files:
            return False
        newest = connection.execute(NEWEST, {"destination": destination}).fetchone()
        sequence = newest["sequence"] + 1 if newest else 1
        created_at = ledger.now(connection)
        exports = sorted({file["export_id"] for file in files})
        # each event counts once: however many formats its chunk has, and whenever they came
        counted = {file["export_id"]: file for file in files if not file["was_listed"]}
        rows_by_site: Counter[str] = Counter()
        for file in counted.values():
            rows_by_site.update(file["rows_by_site"] or {})
        listed = [file for file in files if file["rows"]]
        empty = [export_id for export_id, file in counted.items() if file["selection"] and not file["rows"]]
        loads = _ranges(connection, exports)
        contents = connection.execute(CONTENTS, {"exports": exports}).fetchall()
        selections = {file["export_id"]: file["selection"] for file in files}
        made_of = {
            row["export_id"]: {"loads": loads[row["export_id"]], "loads_sha256": row["sha256"].hex()}
            | ({"selection": selection} if (selection := selections[row["export_id"]]) else {})
            for row in contents
        }
        body = manifest.signed(
            {
                "version": manifest.VERSION,
                "instance": instance,
                "sequence": sequence,
                "created_at": created_at.isoformat(),
                "previous_sha256": newest["sha256"].hex() if newest else None,
                "loads": _in_order(loads[export_id] for export_id in counted),
                "rows": rows_by_site.total(),
                "rows_by_site": dict(sorted(rows_by_site.items())),
                "files": [
                    {name: file[name] for name in ("key", "format", "rows", "bytes", "schema_version")}
                    | {"sha256": file["sha256"].hex(), **made_of[file["export_id"]]}
                    | ({"neutralised": NEUTRALISED} if file["format"] == "csv" else {})
                    for file in listed
                ],
            }
            | ({"not_selected": [made_of[export_id] for export_id in empty]} if empty else {}),
            key,
        )
        connection.execute(
            RECORD,
            {
                "destination": destination,
                "sequence": sequence,
                "key": manifest.key_of(sequence),
                "body": body,
                "sha256": hashlib.sha256(body).digest(),
                "rows": rows_by_site.total(),
                "files": len(listed),
                "bytes": sum(file["bytes"] for file in listed),
                "created_at": created_at,
            },
        )
        connection.execute(ASSIGN, {"destination": destination, "sequence": sequence, "exports": exports})
    return True


def _ranges(connection: pg.Connection, exports: list[int]) -> dict[int, list[dict[str, int]]]:
    """The loads of each chunk, by writer and number."""
    ranges: dict[int, list[dict[str, int]]] = {export_id: [] for export_id in exports}
    for row in connection.execute(RANGES, {"exports": exports}).fetchall():
        ranges[row["export_id"]].append({name: row[name] for name in ("writer", "first", "last")})
    return ranges


def _in_order(ranges: Iterable[list[dict[str, int]]]) -> list[dict[str, int]]:
    return sorted(chain.from_iterable(ranges), key=itemgetter("writer", "first"))


def _put(connection: pg.Connection, destination: str, store: Store, row: dict[str, Any], instance: str) -> Published:
    with tempfile.NamedTemporaryFile() as file:
        file.write(row["body"])
        file.flush()
        bring(store, row["key"], Path(file.name), row["sha256"])
    name = {"destination": destination, "sequence": row["sequence"]}
    latest = {
        "instance": instance,
        "manifest": row["sequence"],
        "key": row["key"],
        "sha256": row["sha256"].hex(),
        "created_at": row["created_at"].isoformat(),
        "totals": pg.one(connection, TOTALS, name),
    }
    store.replace(manifest.LATEST, json.dumps(latest, indent=2).encode())
    connection.execute(PUBLISHED, name)
    log.info(
        "Manifest published.", extra={"destination": destination, "manifest": row["sequence"], "rows": row["rows"]}
    )
    return Published(destination, row["sequence"], row["rows"], row["files"], row["bytes"])

"""Replay: a time range in, its files in every destination again out. What is there stays as it is.

A file that is missing is made again from the database, or taken from another destination: it has the bytes that the
manifests name, or it is not delivered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from evothesis import pg
from evothesis.config import Config, Destination
from evothesis.errors import DeliveryError, EvothesisError, UnreachableError
from evothesis.exporter import ledger
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.prepare import prepare
from evothesis.exporter.render import Rendered, Renderer
from evothesis.exporter.store import Store, bring, store
from evothesis.exporter.workshop import workshop

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # objects done, objects to do

FILES = """
select d.destination, d.format, d.key, d.sha256, d.schema_version, d.selection,
       e.export_id, e.export_key, e.hour, e.first_received_at, e.last_received_at, e.rows
  from deliveries d join exports e using (export_id)
 where d.state = 'published' and d.rows > 0 and d.destination = any(%(destinations)s)
   and e.hour >= date_trunc('hour', %(begin)s) and e.hour < %(end)s
 order by e.export_id, d.format, d.destination
"""
MANIFESTS = """
select m.destination, m.key, m.body, m.sha256
  from manifests m
 where m.published_at is not null and m.destination = any(%(destinations)s)
   and exists (
         select from deliveries d join exports e using (export_id)
          where d.destination = m.destination and d.manifest_sequence = m.sequence
            and e.hour >= date_trunc('hour', %(begin)s) and e.hour < %(end)s)
 order by m.destination, m.sequence
"""


class Failure(NamedTuple):
    """An object that is still missing, or is another one."""

    destination: str
    key: str
    error: EvothesisError


class Replayed(NamedTuple):
    """What was done."""

    left: int  # objects that were there
    delivered: list[tuple[str, str]]  # destination and key of those that were not
    failed: list[Failure]


def replay(
    config: Config,
    connection: pg.Connection,
    progress: Progress,
    *,
    begin: datetime,
    end: datetime,
    destinations: list[Destination],
) -> Replayed:
    """Deliver again what was published of [begin, end) and is missing. Raises DeliveryError while an export runs."""
    ledger.lock(connection)
    chosen = {"destinations": [destination.name for destination in destinations], "begin": begin, "end": end}
    left, delivered, failed = 0, [], []
    with workshop() as folder, Renderer(connection, folder, config.export.signing_key_path) as renderer:
        again = _Again(config, renderer, folder / "aside")
        files = [Delivery.of(row) for row in connection.execute(FILES, chosen).fetchall()]
        manifests = connection.execute(MANIFESTS, chosen).fetchall()
        objects = [
            *((delivery.destination, delivery.key, partial(again.file, delivery)) for delivery in files),
            *((row["destination"], row["key"], partial(again.manifest, row)) for row in manifests),
        ]
        for destination in destinations:
            prepare(connection, destination, again.stores[destination.name], instance=config.instance)
        away: set[str] = set()
        for done, (destination, key, bring_again) in enumerate(objects):
            progress(done, len(objects))
            if destination in away:
                continue
            try:
                if bring_again():
                    delivered.append((destination, key))
                    log.info("Object delivered again.", extra={"destination": destination, "key": key})
                else:
                    left += 1
            except (DeliveryError, UnreachableError) as error:
                failed.append(Failure(destination, key, error))
                away |= {destination} if isinstance(error, UnreachableError) else set()
        progress(len(objects), len(objects))
    return Replayed(left, delivered, failed)


class _Again:
    """Brings an object that is missing; the answer of each method is whether it was."""

    def __init__(self, config: Config, renderer: Renderer, aside: Path) -> None:
        self.stores = {destination.name: store(destination) for destination in config.export.destination}
        self._aside = aside
        self._renderer = renderer

    def file(self, delivery: Delivery) -> bool:
        assert delivery.sha256  # noqa: S101 - what is published was rendered
        target = self.stores[delivery.destination]
        if not self._is_missing(target, delivery.key, delivery.sha256):
            return False
        with closing(self._renderer.render([[delivery]])) as rendering:
            _, files = next(rendering)
            bring(target, delivery.key, self._source(delivery, files, delivery.sha256), delivery.sha256)
        return True

    def manifest(self, row: dict[str, Any]) -> bool:
        target = self.stores[row["destination"]]
        if not self._is_missing(target, row["key"], row["sha256"]):
            return False
        self._aside.write_bytes(row["body"])
        bring(target, row["key"], self._aside, row["sha256"])
        return True

    def _is_missing(self, target: Store, key: str, sha256: bytes) -> bool:
        found = target.digest(key, may_be_hidden=True)
        if found not in (None, sha256):
            message = f"{key} holds another content"
            raise DeliveryError(message, hint="nothing is overwritten: move the object away, and replay again")
        return found is None

    def _source(self, delivery: Delivery, files: Rendered, sha256: bytes) -> Path:
        """A file with the bytes that were delivered; from the database, else from another destination."""
        try:
            file = files.of(delivery)
        except DeliveryError as error:
            reason = error
        else:
            if file.sha256 == sha256:
                return file.path
            message = f"{delivery.key} would not have the bytes that its manifest names: a library makes others now"
            reason = DeliveryError(message, hint="bring the file back from another copy of the bucket")
        for name, other in self.stores.items():
            with suppress(DeliveryError, UnreachableError):
                if name != delivery.destination and other.fetch(delivery.key, self._aside) == sha256:
                    return self._aside
        raise reason

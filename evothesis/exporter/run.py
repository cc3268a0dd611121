"""Run: one export from plan to manifest; the only file that knows all the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

from evothesis import pg
from evothesis.config import Config
from evothesis.errors import DeliveryError, EvothesisError, HistoryError, UnreachableError
from evothesis.exporter import ledger
from evothesis.exporter.adopt import adopt
from evothesis.exporter.encode import Encoded
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.manifest import signing_key
from evothesis.exporter.plan import chunks
from evothesis.exporter.prepare import prepare
from evothesis.exporter.publish import Published, publish
from evothesis.exporter.render import Renderer
from evothesis.exporter.retain import retain
from evothesis.exporter.selection import Selection
from evothesis.exporter.store import Store, bring, store
from evothesis.exporter.workshop import workshop

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # files done, files to do


class Outcome(NamedTuple):
    """What a run achieved; destinations that failed, with their reason, did not hold up the others."""

    published: list[Published]
    failed: dict[str, EvothesisError]
    pending: int


def run(config: Config, connection: pg.Connection, progress: Progress) -> Outcome:
    """Plan all new loads, deliver everything that is due to each destination, remove what is old and everywhere.

    Raises ConfigurationError for a selection that cannot be, DeliveryError when another export runs, HistoryError when
    a bucket has more than the database knows of.
    """
    selections = {destination.name: Selection.of(destination) for destination in config.export.destination}
    ledger.lock(connection)
    key = signing_key(config.export.signing_key_path)
    stores = {destination.name: store(destination) for destination in config.export.destination}
    failed: dict[str, EvothesisError] = {}
    for destination in config.export.destination:
        with _collecting(connection, failed, destination.name):
            adopt(connection, destination, stores[destination.name], instance=config.instance, key=key)
    with connection.transaction():  # a chunk without its deliveries would look delivered
        planned = chunks(ledger.unplanned(connection), rows_max=config.export.rows_max)
        ledger.plan(connection, planned, instance=config.instance)
        for destination in config.export.destination:
            ledger.add_deliveries(connection, destination, selections[destination.name])
    for destination in config.export.destination:
        if destination.name not in failed and ledger.pending(connection, [destination.name]):
            with _collecting(connection, failed, destination.name):
                prepare(connection, destination, stores[destination.name], instance=config.instance)
    for name, reason in failed.items():
        for delivery in ledger.unfinished(connection, [name])[:1]:  # its next file got nowhere: that is an attempt, too
            ledger.failed(connection, delivery, reason)
    usable = {name: target for name, target in stores.items() if name not in failed}
    _deliver_all(config, connection, usable, failed, progress)
    published: list[Published] = []
    for name, target in usable.items():
        with _collecting(connection, failed, name):
            # what was stored before a failure is published: the engineer need not wait for the rest
            published += publish(connection, name, target, instance=config.instance, key=key)
    for name in stores:
        ledger.tried(connection, name, failed.get(name))
    for name, reason in failed.items():
        log.error("Destination failed.", extra={"destination": name, "reason": str(reason)})
    retain(connection, config.export.destination, retention_days=config.database.retention_days)
    return Outcome(published, failed, ledger.pending(connection, list(stores)))


@contextmanager
def _collecting(connection: pg.Connection, failed: dict[str, EvothesisError], destination: str) -> Iterator[None]:
    """A destination that fails does not hold up the others; its first error is the one that is told."""
    try:
        yield
    except HistoryError as error:
        ledger.tried(connection, destination, error)
        raise  # a plan made now could deliver events again under other names
    except (DeliveryError, UnreachableError) as error:
        failed.setdefault(destination, error)


def _deliver_all(
    config: Config,
    connection: pg.Connection,
    stores: dict[str, Store],
    failed: dict[str, EvothesisError],
    progress: Progress,
) -> None:
    """Bring every file to every destination; one that fails is put into `failed` and left alone from then on."""
    due = ledger.unfinished(connection, list(stores))
    done = 0
    with workshop() as folder, Renderer(connection, folder, config.export.signing_key_path) as renderer:
        for chunk, files in renderer.render(_by_chunk(due, failed)):
            for delivery in chunk:
                progress(done, len(due))
                done += 1
                if delivery.destination in failed:
                    continue
                try:
                    _deliver(connection, stores[delivery.destination], delivery, files.of(delivery))
                except (DeliveryError, UnreachableError) as error:
                    failed[delivery.destination] = error
                    ledger.failed(connection, delivery, error)
    progress(len(due), len(due))


def _by_chunk(due: Iterable[Delivery], failed: Container[str]) -> Iterator[list[Delivery]]:
    """What is due of each chunk, to destinations that have not failed when it comes to it."""
    for _, chunk in groupby(due, key=lambda delivery: delivery.planned.export_id):
        if wanted := [delivery for delivery in chunk if delivery.destination not in failed]:
            yield wanted


def _deliver(connection: pg.Connection, target: Store, delivery: Delivery, file: Encoded) -> None:
    """Bring one file to one destination, where an earlier run may have brought it already.

    The object is looked at after the attempt to create it: credentials that may not list are told 403, not 404, of an
    object that is not there.
    """
    if file.rows and delivery.sha256 not in (None, file.sha256) and target.digest(delivery.key) == delivery.sha256:
        # rendered by another version of a library before it was stored: what was recorded is the truth
        ledger.stored(connection, delivery)
        return
    ledger.rendered(connection, delivery, file)
    if not file.rows:  # nothing of the chunk is selected: it has no file
        ledger.stored(connection, delivery)
        return
    bring(target, delivery.key, file.path, file.sha256)
    ledger.stored(connection, delivery)
    log.info("File delivered.", extra={"destination": delivery.destination, "key": delivery.key, "rows": file.rows})

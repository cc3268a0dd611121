"""Run: one export from plan to manifest; the only file that knows all the others."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from evothesis import pg
from evothesis.config import Config
from evothesis.errors import DeliveryError, EvothesisError, HistoryError, UnreachableError
from evothesis.exporter import ledger
from evothesis.exporter.adopt import adopt
from evothesis.exporter.encode import EXTENSIONS, Encoded, encode
from evothesis.exporter.ledger import Delivery
from evothesis.exporter.manifest import signing_key
from evothesis.exporter.plan import chunks
from evothesis.exporter.publish import Published, publish
from evothesis.exporter.read import read
from evothesis.exporter.store import Store, store

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # files done, files to do


class Outcome(NamedTuple):
    """What a run achieved; destinations that failed, with their reason, did not hold up the others."""

    published: list[Published]
    failed: dict[str, EvothesisError]
    pending: int


def run(config: Config, connection: pg.Connection, progress: Progress) -> Outcome:
    """Plan all new loads and deliver everything that is due to each destination.

    Raises DeliveryError when another export runs, HistoryError when a bucket has more than the database knows of.
    """
    if not pg.try_lock(connection, ledger.LOCK):
        message = "another export runs"
        raise DeliveryError(message, hint="wait for it to end")
    key = signing_key(config.export.signing_key_path)
    stores = {destination.name: store(destination) for destination in config.export.destination}
    failed: dict[str, EvothesisError] = {}
    for destination in config.export.destination:
        try:
            adopt(connection, destination, stores[destination.name], instance=config.instance, key=key)
        except HistoryError:
            raise  # a plan made now could deliver events again under other names
        except (DeliveryError, UnreachableError) as error:
            failed[destination.name] = error
    usable = {name: target for name, target in stores.items() if name not in failed}
    with connection.transaction():  # a chunk without its deliveries would look delivered
        planned = chunks(ledger.unplanned(connection), rows_max=config.export.rows_max)
        ledger.plan(connection, planned, instance=config.instance)
        for destination in config.export.destination:
            for form in destination.formats:
                ledger.add_deliveries(connection, destination.name, form, EXTENSIONS[form])
    _deliver_all(connection, usable, failed, progress)
    published: list[Published] = []
    for name, target in usable.items():
        try:
            # what was stored before a failure is published: the engineer need not wait for the rest
            published += publish(connection, name, target, instance=config.instance, key=key)
        except (DeliveryError, UnreachableError) as error:
            failed.setdefault(name, error)
    for name, reason in failed.items():
        log.error("Destination failed.", extra={"destination": name, "reason": str(reason)})
    return Outcome(published, failed, ledger.pending(connection, list(stores)))


def _deliver_all(
    connection: pg.Connection, stores: dict[str, Store], failed: dict[str, EvothesisError], progress: Progress
) -> None:
    """Bring every file to every destination; one that fails is put into `failed` and left alone from then on."""
    due = ledger.unfinished(connection, list(stores))
    with tempfile.TemporaryDirectory(prefix="evothesis-export-") as folder:
        rendered: dict[tuple[int, str], Encoded] = {}
        for done, delivery in enumerate(due):
            progress(done, len(due))
            if delivery.destination in failed:
                continue
            same = (delivery.planned.export_id, delivery.format)
            if same not in rendered:
                for old in rendered.values():
                    old.path.unlink()
                rendered.clear()
            try:
                _deliver(connection, stores[delivery.destination], delivery, rendered, Path(folder))
            except (DeliveryError, UnreachableError) as error:
                failed[delivery.destination] = error
                ledger.failed(connection, delivery, error)
        progress(len(due), len(due))


def _deliver(
    connection: pg.Connection,
    target: Store,
    delivery: Delivery,
    rendered: dict[tuple[int, str], Encoded],
    folder: Path,
) -> None:
    """Bring one file to one destination, where an earlier run may have brought it already.

    The object is looked at after the attempt to create it: credentials that may not list are told 403, not 404, of an
    object that is not there.
    """
    same = (delivery.planned.export_id, delivery.format)
    if same not in rendered:
        rendered[same] = _render(connection, delivery, folder)
    file = rendered[same]
    if delivery.sha256 not in (None, file.sha256) and target.digest(delivery.key) == delivery.sha256:
        # rendered by another version of a library before it was stored: what was recorded is the truth
        ledger.stored(connection, delivery)
        return
    ledger.rendered(connection, delivery, file)
    created = target.create(delivery.key, file.path, file.sha256)
    if target.digest(delivery.key) != file.sha256:
        message = f"{delivery.key} {'was not stored as it was sent' if created else 'exists with another content'}"
        raise DeliveryError(message, hint="nothing was overwritten; see who else writes to this prefix")
    ledger.stored(connection, delivery)
    log.info("File delivered.", extra={"destination": delivery.destination, "key": delivery.key, "rows": file.rows})


def _render(connection: pg.Connection, delivery: Delivery, folder: Path) -> Encoded:
    rows = folder / "rows.csv"
    read(connection, delivery.planned, rows)
    file = encode(rows, folder / f"{delivery.planned.export_key}.{delivery.format}")
    rows.unlink()
    if file.rows != delivery.planned.rows:
        message = f"{delivery.key} has {file.rows} rows where the loads counted {delivery.planned.rows}"
        raise DeliveryError(message, hint="events were removed from the database; nothing was delivered")
    return file

"""Doctor: an appliance in, what a person should know of it out. Nothing is changed, but that each bucket has its guide.

Each look stands for itself: one that fails is a finding, and the others go on.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from evothesis import __version__, pg
from evothesis.appliance.postgres import database
from evothesis.config import Config, Destination
from evothesis.configuration import PATH_VARIABLE, SYSTEM_PATH
from evothesis.errors import EvothesisError
from evothesis.exporter.manifest import LATEST
from evothesis.exporter.prepare import README, readme
from evothesis.exporter.status import Status, status
from evothesis.exporter.store import store
from evothesis.upkeep import billing, machine, outside, stored
from evothesis.upkeep.finding import Finding, State, act, note, ok

LAG_SECONDS_MAX = 6 * 3600


def examine(config: Config, path: Path | None) -> Iterator[Finding]:
    """Everything that can be looked at from here; `path` is the file that the configuration was read from."""
    yield ok("version", f"evothesis {__version__}, Python {platform.python_version()}")
    yield ok("configuration", f"{path or 'none: all defaults'}, instance {config.instance}")
    yield from _looked("secrets", lambda: machine.secrets(config, path))
    yield from machine.units()
    yield from machine.exposure()
    yield machine.clock()
    yield from machine.certificate(config)
    yield from _looked("disk", lambda: machine.disks(config))
    yield machine.collector(config)
    yield from outside.outside(config)
    yield from _looked("spool", lambda: machine.spool(config))
    yield from _looked("database", lambda: _database(config))
    for destination in config.export.destination:
        yield from bucket(destination, config.instance)


def bucket(destination: Destination, instance: str) -> Iterator[Finding]:
    """Whether it can be written and read, with its own credentials."""
    yield from _looked(f"bucket {destination.name}", lambda: [_destination(destination, instance)])


def read_from(path: Path | None) -> Path | None:
    """The file that the configuration is read from when this one is named."""
    named = os.environ.get(PATH_VARIABLE)
    if path or named:
        return path or Path(str(named))
    return SYSTEM_PATH if SYSTEM_PATH.exists() else None


def _looked(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except EvothesisError as error:
        yield act(subject, str(error), error.hint or "see docs/operating.md")
    except (OSError, psycopg.Error) as error:
        yield act(subject, str(error).strip().partition("\n")[0], "run it as root, or see docs/operating.md")


def _database(config: Config) -> Iterator[Finding]:
    with database(config.database) as url, pg.connect(url, name="doctor") as connection:
        yield from stored.server(connection, time.time())
        found = stored.schema(connection)
        yield found
        if found.state is State.OK:
            yield stored.books(connection)
            now = datetime.now(UTC)
            yield from billing.ledger(connection, now.date())
            yield billing.invoices(connection, now)
            yield stored.audit(connection)
            yield from stored.growth(connection, config)
            yield from stored.backups(connection)
            for line in status(config, connection):
                yield _delivery(line)


def _delivery(line: Status) -> Finding:
    """How far a destination is, as the ledger knows it."""
    subject = f"export {line.destination}"
    if line.error:
        return act(subject, f"{line.failures} runs failed: {line.error}", line.hint or "run `evothesis export`")
    behind = f"{line.lag.events:,} events wait, the oldest for {line.lag.seconds / 60:,.0f} minutes"
    if line.lag.seconds > LAG_SECONDS_MAX:
        return act(subject, behind, "run `evothesis export`, and see whether evothesis-export.timer runs")
    if not line.manifest:
        return note(subject, f"nothing was delivered yet; {behind}")
    return ok(subject, f"manifest {line.manifest:,}; {behind if line.lag.loads else 'nothing waits'}")


def _destination(destination: Destination, instance: str) -> Finding:
    """Write and read with the real credentials: the guide, as the first export does. Raises what the store raises."""
    target = store(destination)
    body = readme(instance)
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        # who may not write is refused before the store says that the object exists
        target.probe(README, Path(file.name), hashlib.sha256(body).digest())
    target.read(LATEST)
    return ok(f"bucket {destination.name}", f"{destination.url} can be written and read")

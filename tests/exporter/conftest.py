"""Appliances that only export: nothing serves, their database is filled directly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import tomli_w

from evothesis import pg
from evothesis.config import Config
from evothesis.configuration import load
from evothesis.exporter.run import Outcome, run
from evothesis.exporter.store import store
from evothesis.exporter.verify import Report, verify
from tests.collector.shared import pytest_runtest_makereport
from tests.exporter.seam import Database, Folder
from tests.fix_appliance import Appliance, MakeAppliance

__all__ = ["pytest_runtest_makereport"]

LOCAL = {"name": "client", "url": "file:var/bucket"}


class Exporting:
    """An appliance with a database of its own; it is told where to deliver, and never serves."""

    def __init__(self, appliance: Appliance, database: Database) -> None:
        """Deliver into the local folder, until `deliver_to`."""
        self.appliance = appliance
        self.database = database
        self.bucket = Folder(appliance.bucket)

    def deliver_to(self, *destinations: dict[str, Any], **settings: Any) -> None:  # noqa: ANN401 - any setting of [export]
        """Write the configuration anew, with these destinations and these settings of [export]."""
        export = {"destination": list(destinations) or [LOCAL], **settings}
        self.appliance.config_path.write_text(tomli_w.dumps({**self.appliance.settings, "export": export}))

    def run(self) -> Outcome:
        """Export in this process: the exporter itself, without the start of a command."""
        with self.connected() as (config, connection):
            return run(config, connection, lambda _done, _total: None)

    def verify(self, url: str | None = None, *, public_key: str | None = None) -> Report:
        """Check a bucket in this process; the one that is delivered to, if no other is named."""
        with self.connected() as (config, _):
            destination = config.export.destination[0]
            place = msgspec.structs.replace(destination, url=url or destination.url)
            return verify(store(place), lambda _done, _total: None, public_key=public_key)

    @contextlib.contextmanager
    def connected(self) -> Iterator[tuple[Config, pg.Connection]]:
        """The configuration and a connection, where the exporter has them."""
        with contextlib.chdir(self.appliance.folder):
            config = load(self.appliance.config_path, {})
            with pg.connect(config.database.url, name="export") as connection:
                yield config, connection


@pytest.fixture
def exporting(make_appliance: MakeAppliance, database: str) -> Iterator[Exporting]:
    """An appliance that exports into a local folder."""
    appliance = make_appliance({"database": {"url": database}}, start=False)
    filled = Database(database)
    try:
        made = Exporting(appliance, filled)
        made.deliver_to()
        yield made
    finally:
        filled.connection.close()

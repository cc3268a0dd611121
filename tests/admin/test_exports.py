"""Exports: started and watched over HTTP, and destinations whose credentials are tried."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from evothesis.admin.exports import Exports
from evothesis.config import Config
from evothesis.exporter.lock import LOCK
from evothesis.setting import MASK
from tests.admin.conftest import delivering
from tests.admin.desk import document
from tests.appliance import Appliance, eventually
from tests.collector.client import Answer, ask
from tests.fix_s3 import Bucket

SECRET = "a-secret-that-is-wrong"
AUDIT = "select actor, action from audit_log where action = 'export-run'"


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory, postgres_template: Path) -> Iterator[Appliance]:
    """An appliance that exports."""
    with delivering(tmp_path_factory.mktemp("exporting"), postgres_template) as appliance:
        yield appliance


def run(appliance: Appliance) -> Answer:
    """POST /export/run."""
    return ask(appliance.admin_url, "POST", "/export/run", headers=appliance.admin_headers)


def test_run(exporting: Appliance) -> None:
    """An export is started, told of and recorded; what failed and what did not is in its status."""
    answer = run(exporting)
    again = run(exporting)

    assert (202, True) == (answer.status, answer.json["run"]["running"])
    assert (409, "export_running") == again.error
    eventually(lambda: not document(exporting, "/export/status")["run"]["running"], timeout=30)
    assert 1 == document(exporting, "/export/status")["run"]["exit_code"]  # of the two destinations one is broken
    status = {line["destination"]: line for line in document(exporting, "/export/status")["destinations"]}
    assert (1, 0, None) == tuple(status["client"][name] for name in ("rows", "failures", "error"))
    assert (0, 1, True) == (status["broken"]["rows"], status["broken"]["failures"], bool(status["broken"]["error"]))
    assert [{"actor": "admin.token", "action": "export-run"}] == exporting.rows(AUDIT)


def test_run_elsewhere(exporting: Appliance) -> None:
    """An export that a timer started is one too."""
    with psycopg.connect(exporting.dsn, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK])

        assert (409, "export_running") == run(exporting).error


def test_health_warns(exporting: Appliance) -> None:
    """That a destination fails is a warning in the health: events are taken all the same."""
    exporting.cli("export")

    def health() -> Any:  # noqa: ANN401 - any JSON value
        answer = ask(exporting.admin_url, "GET", "/health")
        return answer.json if answer.json["exports"] and answer.json["warnings"] else None

    found = eventually(health)
    assert ("ok", True) == (found["status"], found["warnings"][0].startswith("destination broken failed "))


def test_config(exporting: Appliance) -> None:
    """Destinations are really tried: that which cannot be made is told with the reason."""
    found = {line["name"]: line for line in document(exporting, "/export/config")["destinations"]}

    assert (True, None) == (found["client"]["ok"], found["client"]["error"])
    assert (False, True) == (found["broken"]["ok"], "file" in found["broken"]["error"])


def test_config_of_bucket(bucket: Bucket) -> None:
    """Credentials are tried against the bucket and not told; nothing that is there is changed."""
    destinations = [bucket.destination("good"), bucket.destination("bad", secret_access_key=SECRET)]
    config = msgspec.convert({"instance": "test", "export": {"destination": destinations}}, Config)
    first = asyncio.run(Exports([]).reach(config))
    listing = bucket.listing()
    second = asyncio.run(Exports([]).reach(config))

    assert {"good": True, "bad": False} == {line["name"]: line["ok"] for line in first}
    assert [1, listing] == [len(listing), bucket.listing()]
    assert SECRET not in repr(second)
    assert {MASK} == {line["secret_access_key"] for line in second}

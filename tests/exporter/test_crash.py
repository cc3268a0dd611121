"""Crashes and company: exports that are killed, and exports that meet."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial

import pytest

from tests.appliance import ROOT, eventually
from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import ABOUT, HOUR, delivered, events, exported, in_order, listed
from tests.exporter.test_manifest import check
from tests.fix_s3 import Bucket

KILLS = 6
HOLDS_LOCK = "select count(*) > 0 from pg_locks where locktype = 'advisory' and granted"


def begin(exporting: Exporting, *under: str) -> subprocess.Popen[bytes]:
    """Start `evothesis export`, maybe under another program; what it says goes to a file."""
    folder = exporting.appliance.folder
    with (folder / "export.log").open("ab") as output:
        return subprocess.Popen(
            [*under, sys.executable, "-m", "evothesis", "export", "--config", str(exporting.appliance.config_path)],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def has_begun(exporting: Exporting, process: subprocess.Popen[bytes]) -> bool:
    """Whether an export holds the lock that all of them need, or has ended already."""
    row = exporting.database.connection.execute(HOLDS_LOCK).fetchone()
    return process.poll() is not None or bool(row and row[0])


def orphans(objects: dict[str, bytes]) -> list[str]:
    """Objects that no reader is told of."""
    return [key for key in objects if not key.startswith("manifests/0") and key not in {*listed(objects), *ABOUT}]


@pytest.mark.crash
def test_killed_at_any_moment(exporting: Exporting, bucket: Bucket) -> None:
    """However often an export is killed, in the end each event is in each destination once, and the chain holds."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    exporting.deliver_to(LOCAL, bucket.destination("second"), rows_max=40)
    killed, run_seconds = 0, 0.0
    # the first run is not killed: it tells how long a run takes; a machine that is busy then and idle later lets some
    # of the others end by themselves
    for number in range(4 * KILLS):
        if killed == KILLS:
            break
        for segment_no in (2 * number, 2 * number + 1):
            hour = HOUR + timedelta(hours=number // 3)
            exporting.database.load(events(30, seed=segment_no), segment_no=segment_no, hour=hour, second=segment_no)
        process = begin(exporting)
        eventually(partial(has_begun, exporting, process), timeout=30)
        started_at = time.monotonic()
        if number:
            time.sleep(chance.uniform(0, run_seconds))
            process.kill()
        code = process.wait()
        killed += code == -signal.SIGKILL
        run_seconds = time.monotonic() - started_at if code == 0 else run_seconds
    outcome = exporting.run()

    assert ({}, 0) == (outcome.failed, outcome.pending)
    assert KILLS == killed
    for objects in (exporting.bucket.objects(), bucket.objects()):
        check(objects)
        assert len(listed(objects)) == len(set(listed(objects)))
        assert in_order(exporting.database.expected) == delivered(objects)
        assert len(orphans(objects)) <= killed


@pytest.mark.crash
def test_two_at_once(exporting: Exporting) -> None:
    """Of two exports the second one says that another one runs, and ends; a killed one stands in nobody's way."""
    exporting.database.load(events(1), segment_no=0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        stuck = LOCAL | {"name": "stuck", "url": "s3://any/where", "endpoint": f"http://127.0.0.1:{port}"}
        exporting.deliver_to(stuck | {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "x" * 40})
        process = begin(exporting)
        try:
            eventually(lambda: has_begun(exporting, process), timeout=30)
            assert process.poll() is None
            code, said = exported(exporting.appliance)
        finally:
            process.kill()
            process.wait()

    assert (1, "Error: another export runs\nTry: wait for it to end") == (code, said)
    exporting.deliver_to(LOCAL)
    eventually(lambda: exporting.run().published, timeout=5)
    assert in_order(exporting.database.expected) == delivered(exporting.bucket.objects())


@pytest.mark.crash
def test_nothing_left_behind(exporting: Exporting) -> None:
    """An export that is killed leaves at most its own temporary files, and the next one does without them."""
    exporting.database.load(events(10), segment_no=0)
    process = begin(exporting)
    eventually(lambda: has_begun(exporting, process), timeout=30)
    process.kill()
    process.wait()
    exporting.run()
    objects = exporting.bucket.objects()

    assert in_order(exporting.database.expected) == delivered(objects)
    assert len(orphans(objects)) <= 1

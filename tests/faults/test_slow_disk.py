"""A disk that takes its time: what waits for it is answered, also by a process that was told to end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.appliance import Appliance, eventually
from tests.collector.test_connection import (
    READ_SECONDS_MAX,
    Answer,
    answers,
    ask,
    connect,
    event,
    parse,
    post,
    statuses,
    stored,
)
from tests.collector.test_doors import chunked, said
from tests.collector.test_unread_answers import GROWTH_BYTES_MAX, UNREAD_BYTES_MAX, memory_bytes, send_until_stuck
from tests.faults.conftest import MakeDisk, command, fill, free
from tests.faults.test_disk_fails import Disk
from tests.faults.test_disk_full import DISK_BYTES
from tests.fix_appliance import MakeAppliance

STILL_SECONDS = 1.0
STOP_SECONDS_MAX = 10
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
OPTIONS = b"OPTIONS /collect HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowDisk(Disk):
    """A disk that can be made to stand still."""

    @contextmanager
    def still(self) -> Iterator[None]:
        """Let every write wait: the kernel freezes the file system, as for a snapshot."""
        command("fsfreeze", "--freeze", str(self.folder))
        try:
            yield
        finally:
            command("fsfreeze", "--unfreeze", str(self.folder))


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[SlowDisk]:
    """A disk of its own."""
    disk = SlowDisk(tmp_path)
    yield disk
    if disk.folder.is_mount():
        command("umount", "--lazy", str(disk.folder))


@pytest.fixture
def appliance_on_slow_disk(slow_disk: SlowDisk, make_appliance: MakeAppliance) -> Appliance:
    """An appliance of one collector whose spool lies on that disk."""
    appliance = make_appliance({"server": {"processes": 1}, "spool": {"path": str(slow_disk.folder / "spool")}})
    appliance.spool = slow_disk.folder / "spool"
    return appliance


@pytest.mark.crash
def test_pipeline_behind_a_waiting_answer(slow_disk: SlowDisk, appliance_on_slow_disk: Appliance) -> None:
    """What arrives while an answer waits for the disk is answered after it, in order, and stored once."""
    appliance = appliance_on_slow_disk
    packets = [post(event("a.example")), OPTIONS, post(event("a.example")) + HEALTH[:9], HEALTH[9:]]
    packets += [chunked(event("a.example")), post(event("a.example")), OPTIONS]
    with closing(connect(appliance)) as connection:
        with slow_disk.still():
            for packet in packets:
                connection.sendall(packet)
                time.sleep(STILL_SECONDS / len(packets))
        found = answers(connection, 7)

    assert [200, 204, 200, 200, 200, 200, 204] == statuses(found)
    assert 4 == stored(appliance, "a.example")


@pytest.mark.crash
def test_stop_while_answers_wait(slow_disk: SlowDisk, appliance_on_slow_disk: Appliance) -> None:
    """Requests that wait for the disk when the appliance stops are answered; who says nothing is not waited for."""
    appliance = appliance_on_slow_disk
    connections = [connect(appliance) for _ in range(6)]
    plain, mixed, strange, _silent, _kept, _half = connections
    for connection in (mixed, _kept):
        connection.sendall(OPTIONS)
        assert [204] == statuses(answers(connection, 1))
    _half.sendall(post(event("b.example"))[:-5])
    with slow_disk.still():
        plain.sendall(post(event("b.example")))
        mixed.sendall(post(event("b.example")))
        strange.sendall(chunked(event("b.example")))
        time.sleep(STILL_SECONDS)
        stopping = threading.Thread(target=appliance.stop)
        began = time.monotonic()
        stopping.start()
        time.sleep(STILL_SECONDS)
    found = [statuses(answers(connection, 9)) for connection in connections]
    stopping.join()
    seconds = time.monotonic() - began
    for connection in connections:
        connection.close()
    appliance.start()

    assert [[200], [200], [200], [], [], []] == found
    assert seconds < STOP_SECONDS_MAX
    assert 3 == stored(appliance, "b.example")


@pytest.mark.crash
def test_flood_behind_waiting_answers(slow_disk: SlowDisk, appliance_on_slow_disk: Appliance) -> None:
    """A sender that paused its reading once cannot, afterwards, fill the memory behind an answer that waits."""
    appliance = appliance_on_slow_disk
    script = b"GET /tracking.js HTTP/1.1\r\nHost: x\r\nX-Padding: %b\r\n\r\n" % (b"x" * 1_000)
    before = memory_bytes(appliance)
    with closing(connect(appliance)) as connection, closing(connection.dup()) as reader:
        sent = send_until_stuck(connection, script)
        reader.settimeout(READ_SECONDS_MAX)
        reading = threading.Thread(target=lambda: list(parse(reader.makefile("rb"))))
        reading.start()
        with slow_disk.still():
            connection.sendall(script[sent % len(script) :])
            sent = send_until_stuck(connection, chunked(event("c.example", text="x" * 10_000)))
            grown = memory_bytes(appliance) - before
        connection.shutdown(socket.SHUT_RDWR)
        reading.join()

    assert sent < UNREAD_BYTES_MAX
    assert grown < GROWTH_BYTES_MAX


@pytest.mark.crash
def test_two_doors_without_room(make_disk: MakeDisk, make_appliance: MakeAppliance) -> None:
    """Both doors say in the same words that nothing can be kept, and when to come back."""
    disk = make_disk(DISK_BYTES)
    appliance = make_appliance({"server": {"processes": 1}, "spool": {"path": str(disk / "spool")}})

    def refused() -> list[Answer]:
        fill(disk)  # what the loader takes away makes room
        requests = [post(event("d.example")), post(event("d.example"), target="/collect?x")]
        found = [ask(appliance, request)[0] for request in requests]
        assert [503, 503] == statuses(found)
        return found

    found = [said(one) for one in eventually(refused)]
    free(disk)
    eventually(lambda: [200] == statuses(ask(appliance, post(event("d.example")))))

    assert b"5" == found[0][1][b"retry-after"]
    assert found[0] == found[1]

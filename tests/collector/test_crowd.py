"""Crowds: more connections than there may be. Those who come too many are sent away, and nobody else notices."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from evothesis.collector.reception import HELD_BYTES_MAX
from tests.appliance import Appliance, eventually
from tests.collector.test_connection import answers, event, post, statuses
from tests.fix_appliance import MakeAppliance

DRIPPING = 2_000
BESIDE = 500  # descriptors that tests have beside them
HONEST_SECONDS_MAX = 2
GROWTH_BYTES_MAX = 32 * 2**20
HEAD = b"POST /collect HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """As many open files as the test needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DRIPPING + BESIDE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(appliance: Appliance, source: str) -> socket.socket:
    """A connection from one of this machine's many addresses."""
    address = urlsplit(appliance.url)
    return socket.create_connection((address.hostname, address.port), timeout=15, source_address=(source, 0))


def is_welcome(appliance: Appliance, source: str, site: str) -> bool:
    """Whether an event from this address is taken."""
    with closing(connect(appliance, source)) as connection, suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(post(event(site)))
        return statuses(answers(connection, 1)) == [200]
    return False


def memory_bytes(appliance: Appliance) -> int:
    """What the collector has of its own."""
    text = Path(f"/proc/{appliance.pid('evothesis: collector 0')}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024


def test_dripping_crowd(make_appliance: MakeAppliance) -> None:
    """2,000 slow connections from one address leave room for others, cost little, and are gone within ten seconds."""
    appliance = make_appliance({"server": {"processes": 1}})
    assert is_welcome(appliance, "127.0.0.2", "a.example")
    before = memory_bytes(appliance)
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect(appliance, "127.0.0.3")) for _ in range(DRIPPING)]
        for connection in crowd:
            with suppress(ConnectionResetError, BrokenPipeError):  # sent away already
                connection.sendall(HEAD)
        waits = []
        for number in range(50):
            began = time.monotonic()
            assert is_welcome(appliance, "127.0.0.2", f"{number}.example")
            waits.append(time.monotonic() - began)
        assert not is_welcome(appliance, "127.0.0.3", "b.example")
        grown = memory_bytes(appliance) - before
        eventually(lambda: is_welcome(appliance, "127.0.0.3", "b.example"), timeout=12)

    assert max(waits) < HONEST_SECONDS_MAX
    assert grown < GROWTH_BYTES_MAX
    assert "Traceback" not in appliance.output()


def test_much_held(make_appliance: MakeAppliance) -> None:
    """Bodies that are not complete may fill some memory, and not more; others are taken all the same."""
    appliance = make_appliance({"server": {"processes": 1}})
    size = 1_000_000
    body = b"POST /collect HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
    before = memory_bytes(appliance)
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect(appliance, "127.0.0.3")) for _ in range(100)]
        for connection in crowd:
            with suppress(ConnectionResetError, BrokenPipeError):  # refused already
                connection.sendall(body % (size, b" " * (size - 1)))
        assert is_welcome(appliance, "127.0.0.2", "a.example")
        grown = memory_bytes(appliance) - before
        said = [status for connection in crowd for status in statuses(answers(connection, 1))]

    assert {503, 408} == set(said)
    # a body that grows is moved about, and leaves holes: mostly a quarter of it, in one run of ten as much as itself
    assert grown < 3 * HELD_BYTES_MAX


def test_full(make_appliance: MakeAppliance) -> None:
    """When all connections are taken a new one is told to come again; when one ends there is room."""
    appliance = make_appliance({"server": {"processes": 1}, "limits": {"connections": 20}})
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect(appliance, f"127.0.1.{number}")) for number in range(1, 21)]
        for connection in crowd:
            connection.sendall(HEAD)
        with closing(connect(appliance, "127.0.0.2")) as connection:
            ((status, headers, body),) = answers(connection, 2)
        crowd[0].close()

        assert (503, b"5", b"close") == (status, headers[b"retry-after"], headers[b"connection"])
        assert b'"code":"too_many_connections"' in body
        eventually(lambda: is_welcome(appliance, "127.0.0.2", "a.example"))


def test_idle_make_room(make_appliance: MakeAppliance) -> None:
    """Connections that are kept for a next request end soon where there are many."""
    appliance = make_appliance({"server": {"processes": 1}, "limits": {"connections": 20}})
    with ExitStack() as stack:
        crowd = [stack.enter_context(connect(appliance, f"127.0.1.{number}")) for number in range(1, 21)]
        for connection in crowd:
            connection.sendall(post(event("a.example")))
            assert [200] == statuses(answers(connection, 1))

        assert not is_welcome(appliance, "127.0.0.2", "b.example")
        eventually(lambda: is_welcome(appliance, "127.0.0.2", "b.example"), timeout=30)


def test_proxy_has_no_limit(make_appliance: MakeAppliance) -> None:
    """All connections may come from a proxy of ours; from another address they may not."""
    limits = {"connections_per_address": 5}
    appliance = make_appliance({"server": {"processes": 1, "proxies": ["127.0.0.2"]}, "limits": limits})
    with ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3"):
            for _ in range(50):
                stack.enter_context(connect(appliance, source))

        assert is_welcome(appliance, "127.0.0.2", "a.example")
        assert not is_welcome(appliance, "127.0.0.3", "a.example")

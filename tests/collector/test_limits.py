"""Limits: requests a second for each key, and what counts as one client."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evothesis.collector.limits import BURST_SECONDS, Limiter, address_prefix

RATE = 5
SHORT, LONG = 300_000, 10_000_000
GROWTH_KIB_MAX = 1_024
GROWTH = """
import sys
from pathlib import Path
from evothesis.collector.limits import Limiter, address_prefix

def resident_kib():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])

def come(first, last):
    for number in range(first, last):
        limiter.takes(address_prefix(f"2001:db8:{number >> 16:x}:{number & 0xffff:x}::1"), number / 10_000)

limiter = Limiter(50)
come(0, 100_000)
before = resident_kib()
come(100_000, int(sys.argv[1]))
print(resident_kib() - before)
"""


def test_no_limit() -> None:
    """Rate 0 lets everything pass."""
    limiter = Limiter(0)

    assert {True} == {limiter.takes("client", 0) for _ in range(10_000)}


@pytest.mark.parametrize("rate", [1, 3, 50, 1_000])
@pytest.mark.parametrize("began_at", [0.0, 100.0, 12_345_678.9])
def test_burst_then_rate(rate: int, began_at: float) -> None:
    """Two seconds' worth pass at once; then one passes for each token, whenever the machine was started."""
    limiter = Limiter(rate)
    at_once = [limiter.takes("client", began_at) for _ in range(rate * BURST_SECONDS + 1)]
    next_at = began_at + 1 / rate

    assert [True] * rate * BURST_SECONDS + [False] == at_once
    assert not limiter.takes("client", began_at + 0.9 / rate)
    assert [True, False] == [limiter.takes("client", next_at) for _ in range(2)]


@pytest.mark.parametrize("rate", [1, 3, 50])
def test_refused_for_a_second(rate: int) -> None:
    """Whoever was refused can pass after a second, as Retry-After says, whatever he tried meanwhile."""
    limiter = Limiter(rate)
    tried = [limiter.takes("client", number / 1_000) for number in range(3_000)]

    assert not tried[-1]
    assert limiter.takes("client", 2.999 + 1)


def test_steady_rate() -> None:
    """Whoever keeps to the rate is never refused."""
    limiter = Limiter(RATE)

    assert {True} == {limiter.takes("client", number / RATE) for number in range(1_000)}


def test_sustained_excess() -> None:
    """Of twice the rate, for long, half passes."""
    limiter = Limiter(RATE)
    passed = sum(limiter.takes("client", number / RATE / 2) for number in range(1_000))

    assert 100 * RATE + RATE * BURST_SECONDS == pytest.approx(passed, abs=2)


def test_keys_are_independent() -> None:
    """One client's excess costs another one nothing."""
    limiter = Limiter(1)
    for _ in range(100):
        limiter.takes("greedy", 0.0)

    assert not limiter.takes("greedy", 0.0)
    assert limiter.takes("modest", 0.0)


def test_unknown_key() -> None:
    """Without a key, as for a connection that is gone, there is nothing to count."""
    limiter = Limiter(1)

    assert {True} == {limiter.takes(None, 0.0) for _ in range(100)}


def test_flood() -> None:
    """While a thousand clients send twice their rate, and are held to it, those who keep to theirs are not refused."""
    limiter = Limiter(RATE)
    passed = dict.fromkeys([f"flood {number}" for number in range(1_000)], 0)
    refused: set[str] = set()
    for tick in range(100):
        now = tick / RATE / 2
        for client in passed:
            passed[client] += limiter.takes(client, now)
        honest = {f"honest {number}" for number in range(100)} if tick % 10 == 0 else set()
        refused |= {client for client in honest if not limiter.takes(client, now)}

    assert max(passed.values()) <= 50 + RATE * BURST_SECONDS + 1
    # which buckets a client has is chance: one refused client in two hundred runs, three in thirty million
    assert len(refused) <= 2


@pytest.mark.parametrize(
    "addresses",
    [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(240)])],
)
def test_memory_is_flat(addresses: int) -> None:
    """However many networks come, a process takes no more memory for them."""
    command = [sys.executable, "-c", GROWTH, str(addresses)]
    grown_kib = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert grown_kib < GROWTH_KIB_MAX


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8::1", "2001:0DB8:0000::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("not:an:address", "not:an:address", True),
        ("::\0", "::\0", True),
        ("::\ufffd", "::1", False),
        ("::1", "::2", True),
        ("::192.0.2.1", "192.0.2.1", False),
        (None, None, True),
    ],
)
def test_one_client(one: str | None, other: str | None, *, expected: bool) -> None:
    """One client is an IPv4 address, however it is written, or the /64 of an IPv6 address."""
    assert expected == (address_prefix(one) == address_prefix(other))

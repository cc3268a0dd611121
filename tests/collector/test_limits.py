"""Limits: requests a second for each key, and what counts as one client."""

from __future__ import annotations

import pytest

from evothesis.collector import limits
from evothesis.collector.limits import BURST_SECONDS, Limiter, address_prefix


def test_no_limit() -> None:
    """Rate 0 lets everything pass."""
    limiter = Limiter(0)

    assert {0} == {limiter.wait_seconds("client", 0) for _ in range(10_000)}


def test_burst_then_rate() -> None:
    """Two seconds' worth pass at once; then a client waits for the next token."""
    limiter = Limiter(5)
    at_once = [limiter.wait_seconds("client", 100.0) for _ in range(5 * BURST_SECONDS)]

    assert [0] * 10 == at_once
    assert pytest.approx(0.2) == limiter.wait_seconds("client", 100.0)
    assert 0 == limiter.wait_seconds("client", 100.2)
    assert pytest.approx(0.1) == limiter.wait_seconds("client", 100.3)


def test_steady_rate() -> None:
    """Whoever keeps to the rate is never refused."""
    limiter = Limiter(5)

    assert {0} == {limiter.wait_seconds("client", number * 0.2) for number in range(1_000)}


def test_sustained_excess() -> None:
    """Of twice the rate, for long, half passes."""
    limiter = Limiter(5)
    passed = sum(limiter.wait_seconds("client", number * 0.1) == 0 for number in range(1_000))

    assert 100 * 5 + 5 * BURST_SECONDS == pytest.approx(passed, abs=2)


def test_keys_are_independent() -> None:
    """One client's excess costs another one nothing."""
    limiter = Limiter(1)
    for _ in range(100):
        limiter.wait_seconds("greedy", 0.0)

    assert limiter.wait_seconds("greedy", 0.0) > 0
    assert 0 == limiter.wait_seconds("modest", 0.0)


def test_unknown_key() -> None:
    """Without a key, as for a request that names no page, there is nothing to count."""
    limiter = Limiter(1)

    assert {0} == {limiter.wait_seconds(None, 0.0) for _ in range(100)}


def test_memory_is_bounded() -> None:
    """However many clients come, the oldest are forgotten, and the one that goes on is remembered."""
    limiter = Limiter(1)
    for number in range(limits.KEYS_MAX + 1_000):
        limiter.wait_seconds(f"client {number}", 0.0)
        if number % 1_000 == 0:
            limiter.wait_seconds("greedy", 0.0)

    assert limits.KEYS_MAX == len(limiter._buckets)
    assert limiter.wait_seconds("greedy", 0.0) > 0


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
        (None, None, True),
    ],
)
def test_one_client(one: str | None, other: str | None, *, expected: bool) -> None:
    """One client is an IPv4 address, however it is written, or the /64 of an IPv6 address."""
    assert expected == (address_prefix(one) == address_prefix(other))

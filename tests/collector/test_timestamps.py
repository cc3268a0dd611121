"""Timestamps: what a sender may call a time, and what it means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evothesis.event import Json
from tests.collector.copy_text import AT, outcome, stored


def timestamp(sent: Json) -> datetime:
    """The time of an event that was sent with this one."""
    (row,) = stored({"eventType": "click", "siteId": "s", "timestamp": sent})
    moment = row["timestamp"]
    assert isinstance(moment, datetime)
    return moment


def code(sent: Json) -> object:
    """The code with which an event of this time is refused."""
    return outcome({"eventType": "click", "siteId": "s", "timestamp": sent})


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-11-22T09:00:00Z", AT),
        ("2026-11-22T09:00:00.000Z", AT),
        ("2026-11-22T10:00:00+01:00", AT),
        ("2026-11-21T17:30:00-15:30", AT),
        ("2026-11-22T09:00:00", AT),
        ("2026-11-22 09:00:00z", AT),
        ("2026-11-22T09:00:00.123456Z", AT + timedelta(microseconds=123_456)),
        (1_795_338_000_000, AT),
        (1_795_338_000_123, AT + timedelta(milliseconds=123)),
        (-1, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("1900-01-01T00:00:00Z", datetime(1900, 1, 1, tzinfo=UTC)),
        ("8999-12-31T23:59:59Z", datetime(8999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (None, AT),
    ],
)
def test_timestamp(sent: Json, expected: datetime) -> None:
    """A time is ISO 8601 or milliseconds since 1970, in UTC when no offset is given; without one it is now."""
    moment = timestamp(sent)

    assert expected == moment
    assert timedelta(0) == moment.utcoffset()


@pytest.mark.parametrize(
    "sent",
    [
        *("now", "infinity", "-infinity", "epoch", "today", "", "1795338000000", "Sun, 22 Nov 2026 09:00:00 GMT"),
        *("2026-02-30T09:00:00Z", "2026-13-01T09:00:00Z", "2026-11-22T25:00:00Z", "2026-W47-7T09:00:00Z"),
        *("2026-11-22", "2026-11-22T09:00:00+24:00", "\uff12026-11-22T09:00:00Z", "10000-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"),
        *(1_795_338_000_000.5, 1.5e12, True, [], {}, 1_795_338_000_000_000, 10**30, -(10**30)),
    ],
)
def test_timestamp_invalid(sent: Json) -> None:
    """What is no time, or none that Python and PostgreSQL both know, refuses its event."""
    assert "timestamp_invalid" == code(sent)


@pytest.mark.parametrize("sent", ["1899-12-31T23:59:59Z", "9000-01-01T00:00:00Z", 230 * 10**12, -(10**13)])
def test_timestamp_out_of_range(sent: Json) -> None:
    """A time that no visit can have, and that some readers cannot represent, refuses its event."""
    assert "timestamp_out_of_range" == code(sent)

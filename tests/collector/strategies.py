"""Hostile: values that mean something to one of their readers, and batches that hypothesis makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from evothesis.event import Json

# what means something to JSON, COPY, jsonb, Parquet, a log, a shell or a rule of privacy
TEXTS = (
    *("", "\0", "a\0b", "\\N", "\\.", "\\", "\t", "\r\n", '"', "''; drop table events_log; --", "${jndi:ldap://x}"),
    *("\x1b[31m", "\x7f", "\u2028", "\u202e", "\ufeff", "\uffff", "😀", "e\u0301", "=1+1", "../../etc/passwd", "<b>"),
    *("%", "%00", "%25%34", "%ff", "null", "NaN", "[redacted]", "__proto__", "{{7*7}}", "x" * 40, "\U0010ffff" * 9),
    *("jane@example.com", "4111 1111 1111 1111", "+49 171 2345678", "?token=abc&a=1", "Bearer abc123def456ghi789"),
    *("203.0.113.77", "2001:db8::1", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "DE89370400440532013000"),
)
ODD: tuple[Json, ...] = (
    *(None, True, False, 0, -1, 0.5, -0.0, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**4_000, 1e308),
    *(
        5e-324,
        float("nan"),
        float("inf"),
        4_111_111_111_111_111,
        4_111_111_111_111_111.0,
        [],
        {},
        [[]],
        {"": {"": None}},
    ),
    *("\ud800", "2026-02-30T00:00:00Z", "2026-11-25T24:00:00Z", "2026-11-25T23:59:60Z", "0001-01-01T00:00:00+14:00"),
    *("infinity", "9999-12-31T23:59:59-05:00", "+010000-01-01T00:00:00Z", "2026-W48-3", "now", "\uff12026-11-25"),
    *(
        253_402_300_799_999,
        "0" * 32,
        "F" * 32,
        "urn:uuid:0",
        "batch",
        "a" * 51,
        "{00000000-0000-0000-0000-000000000000}",
    ),
    *("http://[::1", "http://[redacted]/", "//", "javascript:alert(1)", "https://xn--/", "https://\uff0e/", *TEXTS),
)

_TEXT = st.text(max_size=12) | st.sampled_from(TEXTS)
_NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_VALUE = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_EARLIEST, _LATEST = datetime(1901, 1, 1), datetime(8998, 1, 1)  # noqa: DTZ001 - what hypothesis asks for
_MOMENT = st.datetimes(_EARLIEST, _LATEST, timezones=st.just(UTC)).map(datetime.isoformat)
_SHARED: dict[str, st.SearchStrategy[Json]] = {
    **dict.fromkeys(("sessionId", "visitorId", "url", "path"), st.none() | _TEXT),
    "timestamp": st.none() | _MOMENT | st.integers(-2_000_000_000_000, 200_000_000_000_000),
}
_EVENT = st.fixed_dictionaries(
    {"eventType": st.sampled_from(["click", *filter(None, TEXTS)])},
    optional={**_SHARED, "data": _VALUE, "more": _VALUE},
)
_BATCH = st.fixed_dictionaries(
    {"siteId": _TEXT.filter(bool), "events": st.lists(_EVENT, min_size=1, max_size=5)},
    optional={**_SHARED, "batchId": _VALUE, "sentAt": _VALUE, "of the batch": _VALUE},
)


def batches(seed: int, count: int) -> list[dict[str, Any]]:
    """So many sound batches, whose events have no ids."""
    drawn: list[dict[str, Any]] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @hypothesis.given(_BATCH)
    def collect(batch: dict[str, Any]) -> None:
        drawn.append(batch)

    collect()
    return drawn

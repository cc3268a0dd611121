"""Storable: rows of whatever content PostgreSQL can hold, made by hypothesis, and what it says that it holds."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from tests.exporter.seam import COLUMNS, ENRICHED, Database, Row

# what means something to CSV, JSON, COPY, a spreadsheet, or one of those who read a file
TEXTS = (
    *(
        "",
        " ",
        " a ",
        "\t",
        "NULL",
        "null",
        "None",
        "NaN",
        "\\N",
        "\\.",
        "\\",
        "\\\\",
        "\\n",
        "a\\",
        '\\"',
        "N/A",
        "ᴺᵁᴸᴸ",
    ),
    *('"', '""', '"a"', 'a"b', '","', "a,b\tc;d|e", "'", "'=1", "''", "=1+1", "+1", "-1", "@a", "\uff1d1", "#a", "//"),
    *(
        "\r",
        "\n",
        "\r\n",
        "a\rb",
        "a\nb",
        "a\r\nb\r\n\r\n",
        '\n"\n',
        '\r\n",\r\n',
        "\u2028",
        "\u2029",
        "\u0085",
        "\x0b\x0c",
    ),
    *(
        "true",
        "false",
        "f",
        "0",
        "007",
        "1e5",
        "2026-11-22",
        "2026-11-22T09:00:00.000001Z",
        "[1]",
        "{}",
        '{"a":1}',
        "()",
    ),
    *(
        "ä",
        "e\u0301",
        "中文",
        "😀",
        "\U0010ffff",
        "\uffff",
        "\ufeff",
        "\u202e",
        "\x01",
        "\x1b[31m",
        "\x7f",
        "x" * 3_000,
    ),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = datetime(1900, 1, 1), datetime(8999, 12, 31)  # noqa: DTZ001 - what hypothesis asks for

# a text of PostgreSQL has neither NUL nor half a pair
_TEXT = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_NUMBER = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30, 10**400, 1e308, 5e-324, -0.0, 1.0])
)
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_OPTIONAL = ("session_id", "visitor_id", "url", "path", "user_agent", *ENRICHED)
_ROW = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str),
        "event_type": _TEXT,
        "site_id": _TEXT,
        "timestamp": st.datetimes(EARLIEST, LATEST, timezones=st.just(UTC)),
        "ip_address": st.none() | st.ip_addresses().map(str),
        "raw_event_data": st.dictionaries(_TEXT, _JSON, max_size=5),
        "event_id_reused": st.booleans(),
        "is_bot": st.booleans(),
        **dict.fromkeys(_OPTIONAL, st.none() | _TEXT),
    }
)
_AS_TEXT = {"event_id": "event_id::text", "ip_address": "host(ip_address)", "raw_event_data": "raw_event_data::text"}
_VALUES = ", ".join(_AS_TEXT.get(name, name) for name in COLUMNS)
HELD = f"select {_VALUES} from events_log order by writer, segment_no, idx"  # noqa: S608 - fixed names


def rows(seed: int, count: int) -> list[Row]:
    """So many rows; the first ones have each of TEXTS in every column that may have it."""
    drawn: list[Row] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @hypothesis.given(_ROW)
    def draw(row: Row) -> None:
        drawn.append(row)

    draw()
    for row, text in zip(itertools.cycle(drawn), TEXTS, strict=False):
        row.update(dict.fromkeys(("event_type", "site_id", *_OPTIONAL), text), raw_event_data={text: text})
    return drawn


def held(database: Database) -> list[dict[str, Any]]:
    """What is stored, by its identity: JSON as its text, moments in microseconds since 1970."""
    cursor = database.connection.execute(HELD)
    return [plain(dict(zip(COLUMNS, row, strict=True))) for row in cursor.fetchall()]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose moments are microseconds since 1970."""
    return {
        name: (value - EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
        for name, value in row.items()
    }

"""The corpus, 4.4: fields.

Where the expectation of the corpus is not met, the reason stands here:

* 55: positions and sizes have no columns: they are part of the event as it was sent, and stored as such.
* 56: a time before 1900 or after 8999 refuses its event, which is kept aside as it was sent; none is invented for it.
* 59: an offset of 16 hours means a moment like any other: it is told to PostgreSQL in UTC only.
* 60: a whole number is milliseconds, whatever was meant: nobody can tell seconds from 1970 by looking at them.
* 63: every UUID is an id. One that another site has sent belongs to another event, and is marked by the loader.
* 64: which sites there may be is a setting, tested with the limits; without it every site is taken.
"""

from __future__ import annotations

import json
import random
import string
import uuid
from datetime import UTC, datetime

from tests.collector.hostile.case import Case, batch, each, event, fails, keeps, rejects

LEGAL_IDS = {
    "upper case": "0193F5D0-7E1C-7A4B-9A53-0123456789AB",
    "no hyphens": "0193f5d07e1c7a4b9a530123456789ac",
    "nil": "00000000-0000-0000-0000-000000000000",
    "all ones": "ffffffff-ffff-ffff-ffff-ffffffffffff",
}
INERT = {
    "HTML": "<script>alert(1)</script>",
    "attribute": '" onload="alert(1)',
    "JNDI": "${jndi:ldap://x/a}",
    "template": "{{7*7}}<%= 7*7 %>#{7*7}",
    "format": "%n%s%x {0.__class__}",
    "SQL": "'; DROP TABLE events_log; --",
    "path": "../../etc/passwd\\..\\windows",
    "COPY's end": "\\.",
    "COPY's null": "\\N",
    "backslashes": "a\\tb\\\\c\\x41",
}
PATHS = {
    "500": "/" + "x" * 499,
    "tab": "/a\tb",
    "CR LF": "/a\r\nSet-Cookie: b",
    "backslash": "/a\\b\\",
    "COPY's null": "\\N",
    "COPY's end": "\\.",
    "quotes": "/'\"`",
    "empty": "",
    "dots": "/../../x",
}
NOISE = "".join(random.Random(1).choices(string.ascii_lowercase + "/", k=8_192))  # which no compression makes shorter


def moment(*parts: int) -> datetime:
    """A time in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # seven numbers at most


def timed(text: str | float) -> bytes:
    """An event at a time."""
    return event(timestamp=text)


TIMES: dict[int, dict[str | int, datetime]] = {
    56: {
        "1969-12-31T23:59:59Z": moment(1969, 12, 31, 23, 59, 59),
        "1900-01-01T00:00:00Z": moment(1900, 1, 1),
        "8999-12-31T23:59:59.999999Z": moment(8999, 12, 31, 23, 59, 59, 999_999),
    },
    59: {
        "2026-11-22T09:00:00+15:59": moment(2026, 11, 21, 17, 1),
        "2026-11-22T09:00:00+16:00": moment(2026, 11, 21, 17, 0),
        "2026-11-22T09:00:00-00:00": moment(2026, 11, 22, 9),
    },
    60: {
        -1: moment(1969, 12, 31, 23, 59, 59, 999_000),
        0: moment(1970, 1, 1),
        1_795_338_000: moment(1970, 1, 21, 18, 42, 18),
        10**12: moment(2001, 9, 9, 1, 46, 40),
    },
    61: {
        "2026-11-22T09:00:00.123456789Z": moment(2026, 11, 22, 9, 0, 0, 123_457),
        "2026-11-22T09:00:00.1Z": moment(2026, 11, 22, 9, 0, 0, 100_000),
        "2026-11-22 09:00:00Z": moment(2026, 11, 22, 9),
        "2026-11-22t09:00:00.123z": moment(2026, 11, 22, 9, 0, 0, 123_000),
    },
}
NO_TIMES: dict[int, list[str | float | None]] = {
    56: [
        "10000-01-01T00:00:00Z",
        "294276-01-01T00:00:00Z",
        "294277-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
    ],
    57: ["infinity", "-infinity", "now", "epoch", "today", "tomorrow", "allballs", "now()"],
    58: [
        "2026-11-22T23:59:60Z",
        "2026-11-22T24:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-22T23:60:00Z",
    ],
    59: [
        "2026-11-22T09:00:00+24:00",
        "2026-11-22T09:00:00+1",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
    ],
    60: [1_795_338_000.5, 1.5e12, 10**15, 1_795_338_000_000_000, 10**30, -(10**30), "1795338000000"],
    61: [
        "2026-W47-7T09:00:00Z",
        "2026-11-22",
        "09:00:00",
        "\uff12026-11-22T09:00:00Z",
        "2026-326T09:00:00Z",
        "20261122T090000Z",
        "2026-11-22T09:00:00,123Z",
        "22.11.2026 09:00",
        "Sun, 22 Nov 2026 09:00:00 GMT",
        "2026-11-22T09:00:00[UTC]",
        "",
    ],
}
FAR_TIMES: list[str | int] = [
    "0001-01-01T00:00:00Z",
    "1899-12-31T23:59:59Z",
    "9000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    230 * 10**12,
]

CASES: list[Case] = [
    *[keeps(54, f"path, {name}", event(path=path), columns={"path": path}) for name, path in PATHS.items()],
    keeps(54, "path, 501", event(path="/" + "x" * 500), columns={"path": "/" + "x" * 499}),
    keeps(54, "path, NUL", event(path="/a\0b"), columns={"path": "/a\ufffdb"}),
    keeps(54, "path, random 8,192", event(path=NOISE), columns={"path": NOISE[:500]}),
    rejects(54, "path, 8,193", event(path="x" * 8_193), "path_invalid"),
    rejects(54, "path, 100,000", event(path="x" * 100_000), "event_too_large"),
    *each(
        keeps,
        55,
        {
            str(number): event(json.dumps({"x": number, "viewport": {"width": number}}))
            for number in (-1, 0.5, 2**31, 10**9, -(2**31) - 1)
        },
    ),
    *[
        keeps(row, f"timestamp {text}", timed(text), columns={"timestamp": expected})
        for row, times in TIMES.items()
        for text, expected in times.items()
    ],
    *[
        rejects(row, f"timestamp {text}", timed(text), "timestamp_invalid")
        for row, texts in NO_TIMES.items()
        for text in texts
        if text is not None
    ],
    *[rejects(56, f"timestamp {text}", timed(text), "timestamp_out_of_range") for text in FAR_TIMES],
    rejects(60, "timestamp NaN as text", timed("NaN"), "timestamp_invalid"),
    rejects(62, "eventType, empty", b'{"eventType":"","siteId":"SITE"}', "event_type_invalid"),
    rejects(62, "eventType, 51", b'{"eventType":"%b","siteId":"SITE"}' % (b"x" * 51), "event_type_invalid"),
    rejects(62, "eventType, 10 KB", b'{"eventType":"%b","siteId":"SITE"}' % (b"x" * 10_000), "event_type_invalid"),
    rejects(62, "eventType, absent", b'{"siteId":"SITE"}', "event_type_invalid"),
    *[
        keeps(
            62,
            f"eventType, {name}",
            json.dumps({"eventType": text, "siteId": "SITE"}).encode(),
            columns={"event_type": text},
        )
        for name, text in {
            "unknown": "no_such_type",
            "SQL": "'; DROP TABLE x; --",
            "HTML": "<b>&amp;",
            "COPY": "\\N\t\n",
        }.items()
    ],
    *[
        keeps(63, f"eventId, {name}", event(eventId=text), columns={"event_id": str(uuid.UUID(text))})
        for name, text in LEGAL_IDS.items()
    ],
    keeps(63, "eventId, missing", event()),
    *each(
        rejects,
        63,
        {
            "eventId, empty": event(eventId=""),
            "eventId, a word": event(eventId="abc"),
            "eventId, in braces": event(eventId="{0193f5d0-7e1c-7a4b-9a53-0123456789ab}"),
            "eventId, URN": event(eventId="urn:uuid:0193f5d0-7e1c-7a4b-9a53-0123456789ab"),
            "eventId, 33 digits": event(eventId="0" * 33),
            "eventId, full-width": event(eventId="\uff10" * 32),
            "eventId, line end": event(eventId="0193f5d0-7e1c-7a4b-9a53-0123456789ab\n"),
            "eventId, 30 KB": event(eventId="0" * 30_000),
        },
        "event_id_invalid",
    ),
    rejects(63, "eventId, 1 MB", event(eventId="0" * 1_000_000), "event_too_large"),
    keeps(64, "an unknown site", event()),
    rejects(
        64,
        "siteId of 1 KB",
        event().replace(b"SITE", b"SITE" + b"x" * 1_024),
        "site_id_invalid",
        is_elsewhere=True,
    ),
    rejects(64, "no site", b'{"eventType":"t"}', "site_missing", headers=(b"Referer: /SITE",), is_elsewhere=True),
    rejects(65, "data of 1 MB", event(json.dumps("x" * 1_000_000)), "event_too_large"),
    rejects(65, "data of 32 KB", event(json.dumps("x" * 32_768)), "event_too_large"),
    fails(65, "body of 1 MiB and more", event(json.dumps("x" * 2**20)), 413, "body_too_large"),
    keeps(65, "data of 32,000", event(json.dumps("x y" * 10_666))),
    Case(
        65,
        "types that change",
        batch(*[event(text) for text in ("1", '"a"', "[]", "{}", "null", "1.5", "true")]),
        accepted=7,
        raw={"eventType": "t", "siteId": "SITE", "data": 1},
    ),
    *[
        keeps(66, f"begins with {text!r}", event(json.dumps(f"{text}A1")))
        for text in ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "|", "%")
    ],
    *[keeps(67, name, event(json.dumps(text))) for name, text in INERT.items()],
    *[
        keeps(67, f"{name} as sessionId", event(sessionId=text), columns={"session_id": text})
        for name, text in INERT.items()
    ],
]

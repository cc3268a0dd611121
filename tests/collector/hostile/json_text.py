"""The corpus, 4.3: JSON.

Where the expectation of the corpus is not met, the reason stands here:

* 42, 43, 45: it is the event that is refused, not the body, so that those beside it are stored.
* 44: numbers that have no column are kept as the decimal numbers that they are; jsonb and JSON in Parquet hold them.
* 47: an empty name is data. What is sent is kept; jsonb and JSON in Parquet hold it.
* 52: a batch whose events are all bad is answered 200 as well: they are kept aside, and the answer lists them.
"""

from __future__ import annotations

import json

from tests.collector.hostile.case import Case, batch, each, event, fails, keeps, rejects

TYPED = ("eventId", "sessionId", "visitorId", "siteId", "url", "path")

_TEXTS = {
    "noncharacter FFFE": "\ufffe",
    "noncharacter FFFF": "\uffff",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb\u200db\ufeffc",
    "line separator": "a\u2028b\u2029c",
    "ANSI escape": "\x1b[31mred\x1b[0m",
    "bell and delete": "\x07\x7f",
    "emoji": "👩\u200d🚀 e\u0301",
}


def nested(depth: int, opening: str = "[", closing: str = "]", inner: str = "1") -> str:
    """Containers in one another."""
    return opening * depth + inner + closing * depth


def named(count: int) -> str:
    """An object of so many members."""
    return json.dumps({f"k{number}": 1 for number in range(count)}, separators=(",", ":"))


CASES: list[Case] = [
    keeps(36, "NUL in a value", event(r'"a\u0000b"')),
    keeps(36, "NUL alone", event(r'"\u0000"')),
    keeps(36, "NUL in a list", event(r'[["\u0000\u0000"]]')),
    keeps(36, "NUL in a column", event(sessionId="a\0b"), columns={"session_id": "a\ufffdb"}),
    keeps(
        36, "a backslash and u0000", event(r'"\\u0000"'), raw={"eventType": "t", "siteId": "SITE", "data": "\\u0000"}
    ),
    keeps(37, "NUL in a name", event(r'{"a\u0000":1}')),
    keeps(37, "NUL as a name", event(r'{"\u0000":{"\u0000":1}}')),
    *each(
        fails,
        38,
        {f"byte {byte:02x}": event(b'"a%cb"' % byte) for byte in (0, 1, 8, 9, 10, 13, 27, 31)},
        400,
        "json_invalid",
    ),
    fails(38, "NUL between members", event(b"\0001"), 400, "json_invalid"),
    *each(
        fails,
        39,
        {
            "high": event(r'"\ud800"'),
            "low": event(r'"\udc00"'),
            "swapped": event(r'"\udc00\ud800"'),
            "high and letter": event(r'"\ud83dx"'),
            "high and escape": event(r'"\ud800\u0041"'),
            "two high": event(r'"\ud83d\ud83d\ude00"'),
            "in a name": event(r'{"\udead":1}'),
            "in a column": b'{"eventType":"t","siteId":"SITE","sessionId":"\\udead"}',
        },
        400,
        "json_invalid",
    ),
    fails(39, "high beside others", batch(event(), event(r'"\ud800"')), 400, "json_invalid"),
    keeps(39, "a pair", event(r'"\ud83d\ude00"')),
    *[
        keeps(40, f"{name} {form}", event(json.dumps(text, ensure_ascii=form == "escaped")))
        for name, text in _TEXTS.items()
        for form in ("escaped", "raw")
        if form == "escaped" or min(text) >= " "
    ],
    *each(
        fails,
        41,
        {text: event(text) for text in ("NaN", "Infinity", "-Infinity", "nan", "inf", "undefined")},
        400,
        "json_invalid",
    ),
    *each(
        rejects,
        42,
        {text: event(text) for text in ("1e400", "-1e400", "1E+400", "[1e309]", '{"a":1e999999999}')},
        "event_invalid",
    ),
    rejects(43, "5,000 digits", event("9" * 5_000), "event_invalid"),
    rejects(43, "5,000 digits, negative", event("-" + "9" * 5_000), "event_invalid"),
    *each(keeps, 44, {f"data {number}": event(str(number)) for number in (2**53 + 1, 2**63, 2**64, -(2**63) - 1)}),
    *each(
        rejects,
        44,
        {f"timestamp {number}": event(timestamp=number) for number in (2**53 + 1, 2**63, 2**64, -(2**63))},
        "timestamp_invalid",
    ),
    *each(rejects, 45, {text: event(text) for text in ("1e131073", "-1e131073")}, "event_invalid"),
    *each(keeps, 45, {text[:20]: event(text) for text in ("1e-400", "-0", "-0.0", "0." + "1" * 400, "5e-324")}),
    keeps(45, "1e308", event("1e308"), raw={"eventType": "t", "siteId": "SITE", "data": 10**308}),
    keeps(46, "depth 32", event(nested(31))),
    *[
        rejects(46, f"depth {depth + 1} {opening}", event(nested(depth, opening, closing)), "event_too_deep")
        for depth in (32, 64, 500)
        for opening, closing in (("[", "]"), ('{"a":', "}"))
    ],
    rejects(46, "depth 501 in a batch", batch(event(nested(500))), "event_too_deep"),
    *[
        fails(46, f"depth {depth} {opening}", event(nested(depth, opening, closing)), 400, "json_too_deep")
        for depth in (1_100, 5_000, 100_000)
        for opening, closing in (("[", "]"), ('{"a":', "}"))
    ],
    fails(46, "nothing but depth", nested(100_000).encode(), 400, "envelope_invalid"),
    fails(46, "unfinished depth", b"[" * 100_000, 400, "envelope_invalid"),
    keeps(47, "equal names", event('{"a":1,"a":2}')),
    keeps(
        47, "equal names of a column", b'{"eventType":"t","siteId":"x","siteId":"SITE"}', columns={"event_type": "t"}
    ),
    *each(
        keeps, 47, {name: event(json.dumps({name: 1})) for name in ("__proto__", "constructor", "", "$where", "a.b")}
    ),
    keeps(47, "1,000 names", event(named(1_000))),
    rejects(47, "1,025 names", event(named(1_025)), "event_too_many_members"),
    rejects(47, "3,000 names in a batch", batch(event(named(3_000))), "event_too_many_members"),
    rejects(47, "10,000 names", event(named(10_000)), "event_too_large"),
    rejects(47, "100,000 names", event(named(70_000)), "event_too_large"),
    rejects(47, "a name of 64 KB", event(json.dumps({"k" * 65_536: 1})), "event_too_large"),
    *each(
        fails,
        48,
        {
            "trailing text": event() + b" x",
            "two documents": event() + event(),
            "two lines": event() + b"\n" + event(),
            "comment": event() + b"//",
            "comment within": event("/**/1"),
            "trailing comma": event()[:-1] + b",}",
            "trailing comma in a list": event("[1,]"),
            "single quotes": b"{'eventType':'t','siteId':'SITE'}",
            "no quotes": b"{eventType:1}",
            "leading zero": event("01"),
            "leading plus": event("+1"),
            "leading dot": event(".5"),
            "trailing dot": event("1."),
            "hexadecimal": event("0x10"),
            "underscore": event("1_0"),
            "no value": event(""),
            "no colon": event('{"a" 1}'),
            "form feed": b"\x0c" + event(),
            "no-break space": b"\xc2\xa0" + event(),
            "cut": event()[:-1],
            "cut in a text": event('"abc')[:-1],
        },
        400,
        "json_invalid",
    ),
    *each(
        fails,
        49,
        {text: text.encode() for text in ("null", "true", "1", '"s"', "[]", "[[]]", "[null]", "[{}]", '["batch"]')},
        400,
        "envelope_invalid",
    ),
    rejects(49, "{}", b"{}", "event_type_invalid"),
    rejects(49, "event of null", batch(b"null"), "event_invalid"),
    rejects(
        49,
        "events of other kinds",
        batch(b"1", b'"s"', b"[]", b"true", b"{}"),
        *["event_invalid"] * 4,
        "event_type_invalid",
    ),
    rejects(49, "batch in a batch", batch(batch(event())), "event_type_invalid"),
    *each(
        fails,
        49,
        {
            f"events are {text}": b'{"eventType":"batch","events":%b}' % text.encode()
            for text in ("null", "{}", '"x"', "1")
        },
        400,
        "batch_empty",
    ),
    fails(49, "no events", b'{"eventType":"batch"}', 400, "batch_empty"),
    fails(50, "batch of 0", batch(), 400, "batch_empty"),
    Case(50, "batch of 1", batch(event()), accepted=1, raw={"eventType": "t", "siteId": "SITE", "data": 1}),
    Case(
        50,
        "batch of 1,000",
        batch(*(event(str(n)) for n in range(1_000))),
        accepted=1_000,
        raw={"eventType": "t", "siteId": "SITE", "data": 0},
    ),
    fails(50, "batch of 1,001", batch(*[b"0"] * 1_001), 413, "batch_too_large"),
    fails(50, "batch of 10,000", batch(*[b"0"] * 10_000), 413, "batch_too_large"),
    fails(50, "much for many", batch(*[b"{}"] * 1_000)[:-1] + b',"x":"%b"}' % (b"x" * 30_000), 413, "batch_too_large"),
    Case(
        51,
        "1 bad of 50",
        batch(*[event(str(n)) for n in range(49)], b"{}"),
        accepted=49,
        rejected=((49, "event_type_invalid"),),
        raw={"eventType": "t", "siteId": "SITE", "data": 0},
    ),
    rejects(52, "all bad", batch(*[event(timestamp="never")] * 50), *["timestamp_invalid"] * 50),
    rejects(52, "1,000 bad", batch(*[b"0"] * 1_000), *["event_invalid"] * 1_000),
    *each(
        rejects,
        53,
        {
            text: event().replace(b'"data"', b'"timestamp":%b,"data"' % text.encode())
            for text in ("true", '"12"', '" 1_0 "', '"\uff11\uff12"', "[]", "{}", '"0x10"', '"1e3"')
        },
        "timestamp_invalid",
    ),
    rejects(53, "number as eventType", b'{"eventType":1,"siteId":"SITE"}', "event_type_invalid"),
    rejects(53, "null as eventType", b'{"eventType":null,"siteId":"SITE"}', "event_type_invalid"),
    *[
        rejects(
            53, f"{text} as {name}", b'{"eventType":"t","siteId":"SITE","%b":%b}' % (name.encode(), text.encode()), code
        )
        for name in TYPED
        for text, code in (("true", ""), ("12", ""), ('["a"]', ""))
        for code in (("".join("_" + c.lower() if c.isupper() else c for c in name) + "_invalid"),)
    ],
]

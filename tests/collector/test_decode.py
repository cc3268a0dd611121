"""Decode: the bytes of a body in, its event out, or the reason why not."""

from __future__ import annotations

import gzip
import json

import pytest

from evothesis.event import Json
from tests.collector.copy_text import outcome

EVENT = b'{"eventType":"click","siteId":"shop.example"}'
CLICK = {"eventType": "click", "siteId": "shop.example"}
BODY_BYTES_MAX = 2**20


def with_data(data: bytes, form: str = "event") -> bytes:
    """An event with a member of these bytes, alone or in a batch."""
    event = b'{"eventType":"click","siteId":"shop.example","data":' + data + b"}"
    return event if form == "event" else b'{"eventType":"batch","batchId":"b1","events":[' + event + b"]}"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(EVENT, "", id="plain"),
        pytest.param(EVENT, "identity", id="identity"),
        pytest.param(gzip.compress(EVENT), "gzip", id="gzip"),
        pytest.param(b"\xef\xbb\xbf" + EVENT, "", id="byte order mark"),
        pytest.param(gzip.compress(b"\xef\xbb\xbf" + EVENT), "gzip", id="byte order mark in gzip"),
        pytest.param(b" \r\n\t" + EVENT + b"\n", "", id="white space around"),
        pytest.param(json.dumps(CLICK, indent="\t").encode(), "", id="white space within"),
    ],
)
def test_decodes(body: bytes, encoding: str) -> None:
    """A body of JSON, gzipped or not, is understood."""
    assert CLICK == outcome(body, encoding=encoding)


@pytest.mark.parametrize("form", ["event", "batch"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param("x\0y", "x\ufffdy", id="value"),
        pytest.param({"a\0": 1}, {"a\ufffd": 1}, id="name"),
        pytest.param({"a": [{"b": ["\0\0"]}]}, {"a": [{"b": ["\ufffd\ufffd"]}]}, id="nested"),
        pytest.param(r"C:\u0000", r"C:\u0000", id="a backslash and six characters"),
        pytest.param([0, 1.5, True, None, "\x01"], [0, 1.5, True, None, "\x01"], id="nothing else"),
    ],
)
def test_nul_is_replaced(data: Json, expected: Json, form: str) -> None:
    """NUL, which PostgreSQL cannot hold, becomes U+FFFD wherever it stands."""
    assert CLICK | {"data": expected} == outcome(with_data(json.dumps(data).encode(), form))


@pytest.mark.parametrize("form", ["event", "batch"])
@pytest.mark.parametrize(
    "data",
    [
        *(b"0", b"-0", b"-1.50", b"1e5", b"1E+5", b"1e-400", b"1e308", b"5e-324", b"9007199254740993"),
        *(b"18446744073709551616", b"-9223372036854775809", b"123456789012345678901234567890", b"0." + b"1" * 400),
        *(rb'"\ud83d\ude00"', '"😀"'.encode(), rb'"\/\b\f\n\r\t\"\\"', b'"\x7f"', b'{"":{"a":1}}', b'{ "a" : [ ] }'),
    ],
)
def test_values(data: bytes, form: str) -> None:
    """Whatever JSON allows is kept with its meaning."""
    assert CLICK | {"data": json.loads(data)} == outcome(with_data(data, form))


def test_last_of_equal_names_wins() -> None:
    """Of two members with one name the last one counts, as in jsonb."""
    assert {"a": 2} == (outcome(with_data(b'{"a":1,"a":2}')) or {})["data"]  # type: ignore[index] # of an object


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_size_limit(*, zipped: bool) -> None:
    """A body may have 1 MiB when it is inflated, and not one byte more."""
    batch = b'{"eventType":"batch","events":[' + EVENT + b"]"
    bodies = [batch + b" " * (size - len(batch) - 1) + b"}" for size in (BODY_BYTES_MAX, BODY_BYTES_MAX + 1)]
    if zipped:
        bodies = [gzip.compress(body, 1) for body in bodies]

    assert [CLICK, (413, "body_too_large")] == [outcome(body, encoding="gzip" if zipped else "") for body in bodies]


def test_gzip_flipped() -> None:
    """A gzip body with one flipped bit is refused or means the same: no bit changes an event."""
    body = gzip.compress(EVENT, mtime=0)
    outcomes = []
    for bit in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        outcomes.append(outcome(bytes(flipped), encoding="gzip"))

    # the header has bits that mean nothing, such as the time and the system
    assert {"(400, 'gzip_invalid')", str(CLICK)} == {str(one) for one in outcomes}
    assert outcomes.count(CLICK) < len(outcomes) / 4


@pytest.mark.parametrize("form", ["event", "batch"])
@pytest.mark.parametrize(
    "data",
    [
        *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1E+400", b"9" * 5_000, b"01", b"+1", b"0x10", b"1.", b".5"),
        *(b"-", b"1_0", b"1e", b"[1,]", b"nul", b"'a'", b"a", b'"a" "b"', b'{"a":1,}', b"{a:1}", b'{"a" 1}', b""),
        *(
            b'"\0"',
            b'"\n"',
            b'"\t"',
            b'"\x01"',
            b'"\x1f"',
            b"\x0b1",
            b"\xc2\xa01",
            b'"\\x41"',
            b'"\\u00g0"',
            b'"\\u12"',
        ),
        *(rb'"\ud800"', rb'"\udc00"', rb'"\udc00\ud800"', rb'"\ud800\u0041"', rb'"\uD83Dx"', rb'{"\ud800":1}'),
        *(b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'{"\xff":1}'),
    ],
)
def test_value_invalid(data: bytes, form: str) -> None:
    """What no reader could take is never kept, also where nobody need look at it."""
    assert outcome(with_data(data, form)) in [(400, "json_invalid"), "event_invalid"]


@pytest.mark.parametrize("form", ["event", "batch"])
@pytest.mark.parametrize("data", [b'"harmless"', b'"jane@example.com"', rb'"NUL \u0000"'])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_depth(opening: bytes, closing: bytes, data: bytes, form: str) -> None:
    """An event may be nested 32 levels deep; a deeper one is refused, however deep and whatever is in it."""
    outcomes = [outcome(with_data(opening * depth + data + closing * depth, form)) for depth in (31, 32, 500, 5_000)]

    assert isinstance(outcomes[0], dict)
    too_deep = [(400, "json_too_deep"), "event_too_deep", "event_invalid", "event_too_large"]
    assert [] == [one for one in outcomes[1:] if one not in too_deep]

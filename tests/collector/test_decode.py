"""Decode: bytes in, their text and JSON out, or the status and code of the refusal."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from contextlib import suppress

import pytest

from evothesis.collector.decode import BODY_BYTES_MAX, EnvelopeError, inflate
from evothesis.collector.decode import decode as decode_json
from evothesis.event import Json

EVENT = b'{"eventType":"click","siteId":"shop.example"}'


def decode(body: bytes, encoding: str = "") -> Json:
    """Both steps, as a request takes them."""
    return decode_json(inflate(body, encoding))


def refusal(body: bytes, encoding: str = "") -> tuple[int, str]:
    """The status and code with which a body is refused."""
    with pytest.raises(EnvelopeError) as refused:
        decode(body, encoding)
    return refused.value.status, refused.value.code


def of_size(size_bytes: int) -> bytes:
    """A JSON document of so many bytes."""
    return b'{"text":"' + b"x" * (size_bytes - 11) + b'"}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        pytest.param(EVENT, "", id="plain"),
        pytest.param(EVENT, "identity", id="identity"),
        pytest.param(gzip.compress(EVENT), "gzip", id="gzip"),
        pytest.param(b"\xef\xbb\xbf" + EVENT, "", id="byte order mark"),
        pytest.param(gzip.compress(b"\xef\xbb\xbf" + EVENT), "gzip", id="byte order mark in gzip"),
        pytest.param(b" \r\n\t" + EVENT + b"\n", "", id="white space around"),
    ],
)
def test_decodes(body: bytes, encoding: str) -> None:
    """A body of JSON, gzipped or not, is understood."""
    assert {"eventType": "click", "siteId": "shop.example"} == decode(body, encoding)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"a": "x\0y"}, {"a": "x\ufffdy"}, id="value"),
        pytest.param({"a\0": 1}, {"a\ufffd": 1}, id="name"),
        pytest.param({"a": [{"b": ["\0\0"]}]}, {"a": [{"b": ["\ufffd\ufffd"]}]}, id="nested"),
        pytest.param({"a": r"C:\u0000"}, {"a": r"C:\u0000"}, id="a backslash and six characters"),
        pytest.param({"a": [0, 1.5, True, None, "\x01"]}, {"a": [0, 1.5, True, None, "\x01"]}, id="nothing else"),
    ],
)
def test_nul_is_replaced(document: Json, expected: Json) -> None:
    """NUL, which PostgreSQL cannot hold, becomes U+FFFD wherever it stands."""
    assert expected == decode(json.dumps(document).encode())


def test_last_of_equal_names_wins() -> None:
    """Of two members with one name the last one counts, as in jsonb."""
    assert {"a": 2} == decode(b'{"a":1,"a":2}')


@pytest.mark.parametrize("compress", [pytest.param(None, id="plain"), pytest.param(gzip.compress, id="gzip")])
def test_size_limit(compress: object) -> None:
    """A body may have 1 MiB when it is inflated, and not one byte more."""
    encoding = "gzip" if compress else ""
    largest, larger = of_size(BODY_BYTES_MAX), of_size(BODY_BYTES_MAX + 1)
    if compress:
        largest, larger = gzip.compress(largest), gzip.compress(larger)

    assert BODY_BYTES_MAX == len(json.dumps(decode(largest, encoding), separators=(",", ":")))
    assert (413, "body_too_large") == refusal(larger, encoding)


def test_gzip_bomb() -> None:
    """A bomb is refused in milliseconds: it is inflated no further than the limit."""
    bomb = gzip.compress(bytes(200 * 2**20), 1)
    started_at = time.monotonic()

    assert (413, "body_too_large") == refusal(bomb, "gzip")
    assert time.monotonic() - started_at < 0.5


def test_gzip_cut() -> None:
    """A gzip body that was cut anywhere is refused, also where what is there inflates to JSON."""
    body = gzip.compress(EVENT)

    assert {(400, "gzip_invalid")} == {refusal(body[:end], "gzip") for end in range(1, len(body))}


def test_gzip_flipped() -> None:
    """A gzip body with one flipped bit is refused or means the same: no bit changes an event."""
    body = gzip.compress(EVENT, mtime=0)
    changed = []
    for bit in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with suppress(EnvelopeError):
            changed.append(decode(bytes(flipped), "gzip"))

    # the header has bits that mean nothing, such as the time and the system
    assert [] == [document for document in changed if document != json.loads(EVENT)]
    assert len(changed) < len(body) * 8 / 4


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(EVENT, id="not gzip"),
        pytest.param(gzip.compress(EVENT) + b"junk", id="junk behind"),
        pytest.param(gzip.compress(EVENT[:20]) + gzip.compress(EVENT[20:]), id="two members"),
        pytest.param(gzip.compress(EVENT)[:-8] + b"\0" * 8, id="wrong check sum and size"),
        pytest.param(zlib.compress(EVENT), id="zlib"),
    ],
)
def test_gzip_invalid(body: bytes) -> None:
    """What is not one whole gzip member is refused."""
    assert (400, "gzip_invalid") == refusal(body, "gzip")


def test_gzip_of_nothing() -> None:
    """A gzip body without content is an empty body."""
    assert (400, "body_empty") == refusal(gzip.compress(b""), "gzip")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "x-gzip", "gzip, gzip", "gzip,identity", "gzip ;q=1"])
def test_encoding_unsupported(encoding: str) -> None:
    """Only gzip is inflated; every other Content-Encoding is refused, not passed through."""
    assert (415, "encoding_unsupported") == refusal(EVENT, encoding)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbf", id="byte order mark alone"),
        pytest.param(b" ", id="white space"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":Infinity}', id="Infinity"),
        pytest.param(b'{"a":-Infinity}', id="-Infinity"),
        pytest.param(b'{"a":1e400}', id="a number beyond every double"),
        pytest.param(b'{"a":' + b"9" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b'{"a":01}', id="leading zero"),
        pytest.param(b'{"a":+1}', id="plus sign"),
        pytest.param(b'{"a":0x10}', id="hexadecimal"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":1,}', id="trailing comma"),
        pytest.param(b'{"a":1}//', id="comment"),
        pytest.param(b'{"a":1} x', id="trailing text"),
        pytest.param(b'{"a":1}{"a":2}', id="two documents"),
        pytest.param(b'{"a":1', id="cut"),
        pytest.param(b'{"a":"x', id="cut in a string"),
        pytest.param(b'{"a":"\0"}', id="raw NUL"),
        pytest.param(b'{"a":"\n"}', id="raw line end"),
        pytest.param(rb'{"a":"\x41"}', id="unknown escape"),
        pytest.param(rb'{"a":"\ud800"}', id="lone high surrogate"),
        pytest.param(rb'{"a":"\udc00"}', id="lone low surrogate"),
        pytest.param(rb'{"a":"\udc00\ud800"}', id="swapped surrogates"),
        pytest.param(b'{"a":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', id="overlong UTF-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate in UTF-8"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"a":1}'.encode("utf-32"), id="UTF-32"),
        pytest.param(gzip.compress(EVENT), id="gzip without the header"),
    ],
)
def test_json_invalid(body: bytes) -> None:
    """What is not JSON (RFC 8259) in UTF-8 is refused as a whole."""
    assert (400, "json_invalid") == refusal(body)


def test_body_empty() -> None:
    """An empty body is refused under a name of its own."""
    assert (400, "body_empty") == refusal(b"")


@pytest.mark.parametrize("depth", [33, 500, 2_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_json_too_deep(depth: int, opening: bytes, closing: bytes) -> None:
    """A body that is nested too deeply is refused, however deep."""
    assert (400, "json_too_deep") == refusal(opening * depth + b"1" + closing * depth)

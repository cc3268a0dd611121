"""The corpus, 4.2: encoding and compression."""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache, partial

from tests.collector.hostile.case import EVENT, Case, each, event, fails, keeps

GZIP = (b"Content-Encoding: gzip",)
TEXT = event('"abcdefghijklmnopqrstuvwxyz"')
ZIPPED_BYTES = len(gzip.compress(TEXT)) - 8  # no site is shorter


def cut(body: bytes, *, end: int) -> bytes:
    """The beginning of a gzipped body."""
    return gzip.compress(body, mtime=0)[:end]


def members(body: bytes) -> bytes:
    """Gzip in two members, which together are the body."""
    return gzip.compress(body[:20]) + gzip.compress(body[20:])


def tail(body: bytes, *, end: bytes) -> bytes:
    """Gzip whose last bytes are others."""
    return gzip.compress(body)[: -len(end)] + end


def deflated(body: bytes) -> bytes:
    """Deflate without a wrapper."""
    return zlib.compress(body)[2:-4]


def transcoded(body: bytes, *, coding: str) -> bytes:
    """A body in another encoding than UTF-8."""
    return body.decode().encode(coding)


@lru_cache
def bomb(_: bytes, *, blocks: int) -> bytes:
    """Zeros, which gzip makes a thousandth of: blocks of 8 MiB, each of which stands by itself."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    head = deflater.compress(b"") + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(bytes(8 * 2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return head + block * blocks


CASES: list[Case] = [
    keeps(24, "gzip", TEXT, headers=GZIP, wrap=gzip.compress),
    keeps(24, "gzip in upper case", TEXT, headers=(b"Content-Encoding: GZIP",), wrap=gzip.compress),
    keeps(24, "identity", TEXT, headers=(b"Content-Encoding: identity",)),
    keeps(24, "gzip of 1 MiB", TEXT + b" " * (2**20 - len(TEXT) - 30), headers=GZIP, wrap=gzip.compress),
    *[
        fails(25, f"cut at {end}", TEXT, 400, "gzip_invalid", headers=GZIP, wrap=partial(cut, end=end))
        for end in (*range(1, ZIPPED_BYTES), *range(-8, 0))
    ],
    *[
        fails(26, name, TEXT, 400, "gzip_invalid", headers=GZIP, wrap=wrap)
        for name, wrap in {
            "wrong check sum": lambda body: tail(body, end=bytes(4) + gzip.compress(body)[-4:]),
            "wrong size": partial(tail, end=b"\xff\0\0\0"),
            "junk behind": lambda body: gzip.compress(body) + b"junk",
            "zeros behind": lambda body: gzip.compress(body) + bytes(8),
            "zlib": zlib.compress,
        }.items()
    ],
    fails(27, "two members", TEXT, 400, "gzip_invalid", headers=GZIP, wrap=members),
    fails(
        27,
        "an empty second member",
        TEXT,
        400,
        "gzip_invalid",
        headers=GZIP,
        wrap=lambda b: gzip.compress(b) + gzip.compress(b""),
    ),
    fails(28, "200 MB in 200 KB", b"", 413, "body_too_large", headers=GZIP, wrap=partial(bomb, blocks=25)),
    fails(28, "1 GB in 1 MB", b"", 413, "body_too_large", headers=GZIP, wrap=partial(bomb, blocks=119)),
    fails(28, "1 MiB and a byte", b" " * (2**20 + 1), 413, "body_too_large", headers=GZIP, wrap=gzip.compress),
    fails(29, "gzip in gzip", TEXT, 400, "json_invalid", headers=GZIP, wrap=lambda b: gzip.compress(gzip.compress(b))),
    *[
        fails(
            29,
            coding,
            TEXT,
            415,
            "encoding_unsupported",
            headers=(b"Content-Encoding: " + coding.encode(),),
            wrap=lambda b: gzip.compress(gzip.compress(b)),
        )
        for coding in ("gzip, gzip", "gzip,identity", "gzip;q=1", "gzip gzip")
    ],
    *[
        fails(30, coding, TEXT, 415, "encoding_unsupported", headers=(b"Content-Encoding: " + coding.encode(),))
        for coding in ("br", "zstd", "deflate", "foo", "x-gzip", "compress", "*", "none")
    ],
    fails(30, "raw deflate", TEXT, 415, "encoding_unsupported", headers=(b"Content-Encoding: deflate",), wrap=deflated),
    fails(31, "gzip without the header", TEXT, 400, "json_invalid", wrap=gzip.compress),
    fails(31, "the header without gzip", TEXT, 400, "gzip_invalid", headers=GZIP),
    fails(31, "empty gzip", b"", 400, "body_empty", headers=GZIP, wrap=gzip.compress),
    fails(31, "nothing, said to be gzip", b"", 400, "gzip_invalid", headers=GZIP),
    keeps(32, "byte order mark", b"\xef\xbb\xbf" + EVENT),
    keeps(32, "byte order mark in gzip", b"\xef\xbb\xbf" + EVENT, headers=GZIP, wrap=gzip.compress),
    fails(32, "two byte order marks", b"\xef\xbb\xbf" * 2 + EVENT, 400, "json_invalid"),
    fails(32, "byte order mark alone", b"\xef\xbb\xbf", 400, "json_invalid"),
    *[
        fails(33, coding, EVENT, 400, "json_invalid", wrap=partial(transcoded, coding=coding))
        for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "cp037")
    ],
    *each(
        fails,
        34,
        {
            "byte FF": event(b'"\xff"'),
            "overlong C0 AF": event(b'"\xc0\xaf"'),
            "overlong NUL": event(b'"\xc0\x80"'),
            "surrogate ED A0 80": event(b'"\xed\xa0\x80"'),
            "above 10FFFF": event(b'"\xf4\x90\x80\x80"'),
            "cut sequence": event(b'"\xe2\x82"'),
            "lone continuation": event(b'"\x80"'),
            "in a name": event(b'{"\xff":1}'),
            "Latin-1": event('"ä"'.encode("latin-1")),
        },
        400,
        "json_invalid",
    ),
    *[
        keeps(35, text.decode(), TEXT, content_type=text)
        for text in (
            b"application/json",
            b"text/plain",
            b"text/plain;charset=UTF-8",
            b"Application/JSON ; x=y",
            b"text/plain; charset=latin-1",
        )
    ],
    *[
        fails(35, text.decode() or "empty", TEXT, 415, "content_type_unsupported", content_type=text)
        for text in (
            b"",
            b"multipart/form-data; boundary=x",
            b"application/x-www-form-urlencoded",
            b"text/html",
            b"application/xml",
            b"application/jsonx",
            b"text/plain, application/json",
            b"application/json+ld",
            b"application/octet-stream",
        )
    ],
]

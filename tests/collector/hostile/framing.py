"""The corpus, 4.1, rows 1 to 15: where a request begins and ends."""

from __future__ import annotations

from tests.collector.hostile.wire import (
    CHUNKED,
    EMPTY,
    HOST,
    LENGTH,
    NOT_HTTP,
    START,
    TAKEN,
    TYPE,
    Wire,
    get,
    post,
    refused,
)

ALL = b"HEXLENGTH\r\nBODY\r\n"

CASES: list[Wire] = [
    Wire(
        1,
        "empty body",
        post(length=b"Content-Length: 0\r\n").removesuffix(b"BODY"),
        [(400, "body_empty")],
        is_open=True,
    ),
    Wire(1, "empty chunked body", CHUNKED + EMPTY, [(400, "body_empty")], is_open=True),
    Wire(1, "no length", post(length=b"").removesuffix(b"BODY"), [(400, "body_empty")], is_open=True),
    Wire(1, "a body without a length", post(length=b""), [(400, "http_invalid")]),
    *refused(
        6,
        two_lengths=post(b"Content-Length: 5\r\n"),
        two_equal_lengths=post(LENGTH),
        two_lengths_on_a_line=post(length=b"Content-Length: LENGTH, LENGTH\r\n"),
        shorter_length_second=post(b"Content-Length: 1\r\n"),
    ),
    *refused(
        7,
        length_and_chunks=START + HOST + TYPE + LENGTH + b"Transfer-Encoding: chunked\r\n\r\nBODY",
        chunks_and_length=START + HOST + TYPE + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + ALL + EMPTY,
        zero_length_and_chunks=CHUNKED[:-2] + b"Content-Length: 0\r\n\r\n" + ALL + EMPTY,
        chunked_in_1_0=CHUNKED.replace(b"1.1", b"1.0") + ALL + EMPTY,
    ),
    *[
        Wire(8, f"length {text.decode()!r}", post(length=b"Content-Length: " + text + b"\r\n"), NOT_HTTP)
        for text in (
            b"+2",
            b"-1",
            b"-0",
            b"12345678901234567890123",
            b"18446744073709551616",
            b"0x10",
            b"1e3",
            b"1_0",
            b"2 2",
            b"2;",
            b"two",
            b"",
        )
    ],
    *refused(
        9,
        chunk_size_ZZ=CHUNKED + b"ZZ\r\nBODY\r\n" + EMPTY,
        negative_chunk=CHUNKED + b"-1\r\nBODY\r\n" + EMPTY,
        signed_chunk=CHUNKED + b"+HEXLENGTH\r\nBODY\r\n" + EMPTY,
        chunk_with_0x=CHUNKED + b"0xHEXLENGTH\r\nBODY\r\n" + EMPTY,
        huge_chunk=CHUNKED + b"1" * 30 + b"\r\nBODY\r\n" + EMPTY,
        chunk_too_short=CHUNKED + b"2\r\nBODY\r\n" + EMPTY,
        chunk_without_line_end=CHUNKED + b"HEXLENGTH\r\nBODY" + EMPTY,
        bare_line_feed_in_chunk=CHUNKED + b"HEXLENGTH\nBODY\n0\n\n",
        NUL_in_extension=CHUNKED + b"HEXLENGTH;\0\r\nBODY\r\n" + EMPTY,
    ),
    Wire(9, "chunk extension", CHUNKED + b"HEXLENGTH;a=b\r\nBODY\r\n" + EMPTY, [TAKEN], 1, is_open=True),
    Wire(9, "trailers", CHUNKED + ALL + b"0\r\nX-Trailer: CANARY\r\n\r\n", [TAKEN], 1, is_open=True),
    Wire(9, "100,000 chunks of a byte", CHUNKED + b"1\r\n \r\n" * 100_000 + ALL + EMPTY, NOT_HTTP),
    Wire(9, "4,000 chunks", CHUNKED + b"1\r\n \r\n" * 4_000 + ALL + EMPTY, [TAKEN], 1, is_open=True),
    *[
        Wire(10, f"coding {text.decode()!r}", CHUNKED.replace(b"chunked", text) + ALL + EMPTY, NOT_HTTP)
        for text in (
            b"gzip, chunked",
            b"chunked, gzip",
            b"gzip",
            b"identity",
            b"chunked, chunked",
            b"xchunked",
            b"chunked\x0b",
            b"chunked;q=1",
            b"",
        )
    ],
    Wire(10, "two codings", CHUNKED[:-2] + b"Transfer-Encoding: gzip\r\n\r\n" + ALL + EMPTY, NOT_HTTP),
    *refused(
        11,
        bare_line_feeds=post().replace(b"\r\n", b"\n"),
        one_bare_line_feed=post(b"X: y\n"),
        bare_carriage_return=post(b"X: y\rZ: CANARY\r\n"),
        obs_fold=post(b"X: y\r\n CANARY\r\n"),
        NUL_in_a_header=post(b"X: \0CANARY\r\n"),
        NUL_in_a_name=post(b"X\0: CANARY\r\n"),
        space_in_a_name=post(b"X CANARY: y\r\n"),
        space_before_colon=post(b"X : CANARY\r\n"),
        no_name=post(b": CANARY\r\n"),
        no_colon=post(b"CANARY\r\n"),
        first_header_folded=START + b" CANARY: x\r\n" + HOST + b"\r\n",
        escape_in_a_header=post(b"X: \x1b[31mCANARY\r\n"),
    ),
    *refused(
        12,
        no_host=post(host=b""),
        two_hosts=post(b"Host: CANARY\r\n"),
        two_equal_hosts=post(HOST),
    ),
    Wire(
        12,
        "no host in 1.0",
        post(b"Connection: keep-alive\r\n", host=b"", start=b"POST /collect HTTP/1.0\r\n"),
        [TAKEN],
        1,
        is_open=True,
    ),
    *refused(
        13,
        header_of_9_KB=post(b"X: %b\r\n" % (b"CANARY" * 1_500)),
        name_of_9_KB=post(b"%b: y\r\n" % (b"CANARY" * 1_500)),
        URL_of_9_KB=get(b"/collect?" + b"CANARY" * 1_500),
        headers_200=post(b"".join(b"X-%d: CANARY\r\n" % number for number in range(200))),
        method_of_9_KB=get(b"/", method=b"P" * 9_000),
    ),
    Wire(13, "header of 8 KB", post(b"X: %b\r\n" % (b"x" * 8_000)), [TAKEN], 1, is_open=True),
    Wire(
        13,
        "headers of 64 KB",
        post(b"".join(b"X-%d: %b\r\n" % (n, b"x" * 600) for n in range(100))),
        [TAKEN],
        1,
        is_open=True,
    ),
    *[
        Wire(
            14,
            f"bytes in {name.decode()}",
            post(name + b": https://SITE/\xff\xed\xa0\x80\xc0\xaf\r\n"),
            [TAKEN],
            1,
            is_open=True,
        )
        for name in (
            b"User-Agent",
            b"Referer",
            b"Origin",
            b"Cookie",
            b"X-Forwarded-For",
            b"DNT",
            b"Accept-Language",
            b"Content-Language",
        )
    ],
    Wire(14, "bytes in the query", post(start=b"POST /collect?\xff\xed\xa0\x80 HTTP/1.1\r\n"), NOT_HTTP),
    Wire(15, "GET of HTTP/0.9", b"GET /health\r\n\r\n", NOT_HTTP),
    Wire(15, "POST of HTTP/0.9", b"POST /collect\r\n\r\nBODY", NOT_HTTP),
    *[
        Wire(15, version.decode(), post(start=b"POST /collect " + version + b"\r\n"), NOT_HTTP)
        for version in (
            b"HTTP/0.9",
            b"HTTP/2.0",
            b"HTTP/3.0",
            b"HTTP/1.2",
            b"HTTP/11",
            b"HTTP/1",
            b"http/1.1",
            b"ICE/1.0",
            b"RTSP/1.0",
        )
    ],
]

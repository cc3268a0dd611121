"""The corpus, 4.1, rows 16 to 23: requests that are sound and odd.

Where the expectation of the corpus is not met, the reason stands here:

* 16: the host of an absolute URI is ignored, as that of the Host header is: nothing depends on either.
* 18: any page may send, without credentials; which origins are told so is tested with the limits.
* 23: no parameter is read but those of the pixel, of which the first one counts.
"""

from __future__ import annotations

from tests.collector.hostile.wire import NOT_HTTP, TAKEN, Wire, get, post, refused

CASES: list[Wire] = [
    Wire(16, "other host", post(start=b"POST http://CANARY.example/collect HTTP/1.1\r\n"), [TAKEN], 1, is_open=True),
    Wire(16, "other path", post(start=b"POST http://x/CANARY HTTP/1.1\r\n"), [(404, "not_found")], is_open=True),
    Wire(16, "other scheme", post(start=b"POST file:///collect HTTP/1.1\r\n"), NOT_HTTP),
    Wire(16, "authority", get(b"CANARY.example:443", method=b"CONNECT"), [(404, "not_found")]),
    Wire(16, "asterisk", get(b"*", method=b"OPTIONS"), [(404, "not_found")], is_open=True),
    *[
        Wire(
            17,
            f"{method.decode()} /collect",
            get(b"/collect", method=method),
            [(405, "method_not_allowed")],
            is_open=True,
        )
        for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"PROPFIND", b"PURGE")
    ],
    Wire(17, "PUT of an event", post(start=b"PUT /collect HTTP/1.1\r\n"), [(405, "method_not_allowed")], is_open=True),
    *refused(
        17, unknown_method=get(b"/collect", method=b"CANARY"), lower_case=post(start=b"post /collect HTTP/1.1\r\n")
    ),
    *[
        Wire(
            18,
            f"preflight of {origin[:40]!r}",
            get(b"/collect", method=b"OPTIONS", lines=b"Origin: " + origin + b"\r\n"),
            [(204, "")],
            is_open=True,
        )
        for origin in (b"https://shop.example", b"https://shop.example.evil.example", b"null", b"\xff", b"x" * 4_000)
    ],
    *[
        Wire(
            19,
            f"{text.decode()} {where}",
            post(b"Expect: " + text + b"\r\n", start=b"POST %b HTTP/1.1\r\n" % path),
            [(417, "expectation_unknown")],
            is_open=True,
        )
        for text in (b"200-maybe", b"CANARY", b"100-continue, 200-ok")
        for where, path in (("here", b"/collect"), ("nowhere", b"/nowhere"))
    ],
    Wire(19, "100-continue", post(b"Expect: 100-continue\r\n"), [(100, ""), TAKEN], 1, is_open=True),
    Wire(20, "1,000 plain requests", post() * 1_000, [TAKEN] * 1_000, 1, is_open=True),
    Wire(20, "1,000 other requests", get(b"/nowhere") * 1_000, [(404, "not_found")] * 1_000, is_open=True),
    Wire(
        20,
        "500 of both",
        (post() + get(b"/collect")) * 500,
        [TAKEN, (405, "method_not_allowed")] * 500,
        1,
        is_open=True,
    ),
    *refused(
        21,
        TLS_hello=bytes.fromhex("16030100f5010000f10303") + b"CANARY" * 40,
        TLS_1_0=b"\x80\x2e\x01\x03\x01" + bytes(60),
        preface=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        SSH=b"SSH-2.0-CANARY\r\n",
        SMTP=b"EHLO CANARY\r\n",
        Redis=b"*1\r\n$4\r\nPING\r\n",
        SOCKS=b"\x05\x01\x00",
        zeros=bytes(1_000),
        RDP=b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
        letters=b"CANARY" * 10_000,
    ),
    *[
        Wire(22, path.decode("latin-1"), get(path), [(404, "not_found")], is_open=True)
        for path in (
            b"/",
            b"/collect/",
            b"//collect",
            b"/collect%00",
            b"/collect/../admin",
            b"/%2e%2e/admin",
            b"/collect%2f",
            b"/.env",
            b"/metrics",
            b"/events/recent",
            b"/%",
            b"/%zz",
            b"/collect;a=b",
            b"/..",
            b"/\\collect",
            b"/CANARY<script>",
            b"/%F0%9F%98%80",
            b"/" + b"a/" * 4_000,
        )
    ],
    *refused(
        22,
        space_in_target=get(b"/collect x"),
        NUL_in_target=get(b"/collect\0"),
        control_in_target=get(b"/collect\x01"),
        bytes_in_target=get(b"/\xff\xfe"),
    ),
    Wire(
        23,
        "parameters of collect",
        post(start=b"POST /collect?a=1&a=2&siteId=CANARY HTTP/1.1\r\n"),
        [TAKEN],
        1,
        is_open=True,
    ),
    Wire(23, "site twice", get(b"/pixel.gif?site=SITE&site=CANARY"), [TAKEN], 1, is_open=True),
    Wire(23, "url twice", get(b"/pixel.gif?url=https://SITE/&url=https://CANARY/"), [TAKEN], 1, is_open=True),
]

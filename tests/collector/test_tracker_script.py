"""GET /tracking.js: the tracker as browsers fetch it, through a real socket."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re

import brotli  # type: ignore[import-untyped]  # it has no stubs
import pytest

from evothesis.collector.script import SOURCE, Script, joined, minified, parts
from tests.appliance import Appliance
from tests.collector.client import JSON_TYPE, ask

DECODE = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


def hashed_path(content: bytes, stem: str = "/tracking") -> str:
    """The name that never changes its content: that of the content's digest."""
    return f"{stem}.{hashlib.sha384(content).hexdigest()[:16]}.js"


@pytest.fixture(scope="module")
def plain(collector: Appliance) -> bytes:
    """The tracker as it is served without a coding."""
    return ask(collector.url, "GET", "/tracking.js").body


def test_plain(collector: Appliance, plain: bytes) -> None:
    """The tracker is the package's files in few bytes, as JavaScript that any page may load."""
    answer = ask(collector.url, "GET", "/tracking.js")

    assert (200, plain) == (answer.status, answer.body)
    assert b'"/collect"' in plain
    assert b"/*" not in plain
    assert len(plain) < len("".join(parts().values())) / 2
    assert ("text/javascript; charset=utf-8", "nosniff", "*", "cross-origin") == tuple(
        answer.headers[name]
        for name in (
            "Content-Type",
            "X-Content-Type-Options",
            "Access-Control-Allow-Origin",
            "Cross-Origin-Resource-Policy",
        )
    )
    assert None is answer.headers["Server"]


def test_parts() -> None:
    """Every file of the tracker is part of it, once, behind what it imports, and nothing of modules is left."""
    codes = parts()

    assert {SOURCE.name, *(file.name for file in SOURCE.with_suffix("").iterdir())} == set(codes)
    for place, name in enumerate(codes):
        folder = SOURCE.parent if name == SOURCE.name else SOURCE.with_suffix("")
        imported = re.findall(r"from '.*/([\w.]+)';", (folder / name).read_text())
        assert set(imported) <= set(list(codes)[:place])
    assert [] == re.findall(r"^(?:import|export)\b.*", "".join(codes.values()), re.MULTILINE)


def test_order() -> None:
    """What is taken apart is taken from what was declared before it: the minifier by itself would turn that around."""
    code = joined(
        {"part.js": "const url = find();\nconst [host, port] = (url.host ?? '').split(':');\nsee(port, host);\n"}
    )

    assert 0 <= minified(code).find("find()") < minified(code).find("split(")


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("deflate, GZIP", "gzip"),
        ("gzip;q=0", None),
        ("xbr, gzipped", None),
    ],
)
def test_encoding(collector: Appliance, plain: bytes, accepted: str | None, expected: str | None) -> None:
    """A browser gets the best coding that it accepts, and caches are told on what that depends."""
    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    answer = ask(collector.url, "GET", "/tracking.js", headers=headers)

    assert (expected, "Accept-Encoding") == (answer.headers["Content-Encoding"], answer.headers["Vary"])
    assert plain == DECODE[expected](answer.body)
    assert expected is None or len(answer.body) < len(plain) / 2


@pytest.mark.parametrize("accepted", ["identity", "gzip", "br"])
def test_not_modified(collector: Appliance, accepted: str) -> None:
    """Whoever has this version is told so, and gets no body."""
    headers = {"Accept-Encoding": accepted}
    etag = ask(collector.url, "GET", "/tracking.js", headers=headers).headers["ETag"]

    for tags in (etag, f"W/{etag}", f'"another", {etag}', "*"):
        answer = ask(collector.url, "GET", "/tracking.js", headers=headers | {"If-None-Match": tags})
        assert (304, b"", etag) == (answer.status, answer.body, answer.headers["ETag"])
    assert 200 == ask(collector.url, "GET", "/tracking.js", headers=headers | {"If-None-Match": '"another"'}).status


def test_etags_differ_by_encoding(collector: Appliance) -> None:
    """What differs in its bytes has another tag (RFC 9110, 8.8.3)."""
    tags = [
        ask(collector.url, "GET", "/tracking.js", headers={"Accept-Encoding": accepted}).headers["ETag"]
        for accepted in ("identity", "gzip", "br")
    ]

    assert 3 == len(set(tags))


def test_plain_name_is_asked_for_again(collector: Appliance) -> None:
    """The plain name's content changes with an upgrade: it is kept for an hour."""
    assert "public, max-age=3600" == ask(collector.url, "GET", "/tracking.js").headers["Cache-Control"]


def test_hashed_name(collector: Appliance, plain: bytes) -> None:
    """The name with the content's digest, from which its integrity follows, may be kept for ever."""
    answer = ask(collector.url, "GET", hashed_path(plain))

    assert (200, plain) == (answer.status, answer.body)
    assert "public, max-age=31536000, immutable" == answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/tracking.0123456789abcdef.js", "/tracking.js/", "/tracking.min.js", "/Tracking.js"])
def test_other_names(collector: Appliance, path: str) -> None:
    """Another version's name is not served under this one's content."""
    assert (404, "not_found") == ask(collector.url, "GET", path).error


def test_head(collector: Appliance, plain: bytes) -> None:
    """HEAD says what GET would, without the body."""
    answer = ask(collector.url, "HEAD", "/tracking.js")

    assert (200, b"", str(len(plain))) == (answer.status, answer.body, answer.headers["Content-Length"])


def test_renamed(proxied: Appliance, plain: bytes) -> None:
    """Under other names the old ones are gone, and the tracker knows where to send."""
    answer = ask(proxied.url, "GET", "/js/t.js")
    event = json.dumps({"eventType": "click", "siteId": "renamed.example"}).encode()

    assert (200, plain.replace(b'"/collect"', b'"/in/c"')) == (answer.status, answer.body)
    assert [200, 404, 404] == [
        ask(proxied.url, "POST", "/in/c", body=event, headers=JSON_TYPE).status,
        ask(proxied.url, "POST", "/collect", body=event, headers=JSON_TYPE).status,
        ask(proxied.url, "GET", "/tracking.js").status,
    ]


def test_renamed_hashed_name(proxied: Appliance, plain: bytes) -> None:
    """The digest in the name is that of the content with the configured path in it."""
    renamed = ask(proxied.url, "GET", "/js/t.js").body

    assert 200 == ask(proxied.url, "GET", hashed_path(renamed, "/js/t")).status
    assert 404 == ask(proxied.url, "GET", hashed_path(plain, "/js/t")).status


def test_integrity(collector: Appliance, plain: bytes) -> None:
    """Each coding unpacks to the bytes whose hash a page names in its integrity attribute."""
    expected = base64.b64encode(hashlib.sha384(plain).digest())
    bodies = [
        DECODE[coding](ask(collector.url, "GET", hashed_path(plain), headers={"Accept-Encoding": coding}).body)
        for coding in ("gzip", "br")
    ]

    assert [expected] * 2 == [base64.b64encode(hashlib.sha384(body).digest()) for body in bodies]


def test_tag(collector: Appliance, plain: bytes) -> None:
    """The tag of the hashed name says where it is and what its hash is, for these paths, escaped."""
    script = Script.load(script_path="/tracking.js", collect_path="/collect")
    integrity = base64.b64encode(hashlib.sha384(plain).digest()).decode()

    expected = (
        f'<script async src="{collector.url}{hashed_path(plain)}"'
        f' integrity="sha384-{integrity}" crossorigin="anonymous"></script>'
    )
    assert expected == script.tag(collector.url)
    renamed = Script.load(script_path="/t.js", collect_path="/c").tag('https://a.example/"')
    assert renamed.startswith('<script async src="https://a.example/&quot;/t.')
    assert integrity not in renamed

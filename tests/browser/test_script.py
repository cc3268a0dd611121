"""The tracker stays small, and what it records is documented."""

from __future__ import annotations

import http.client
import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.appliance import Appliance

GZIP_BYTES_MAX = 6_000  # with every signal that is planned; nothing measured lies between 3 kB and 17 kB


def served_bytes(appliance: Appliance, encoding: str) -> int:
    """How much a browser receives that accepts this encoding."""
    address = urlsplit(appliance.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    try:
        connection.request("GET", "/tracking.js", headers={"Accept-Encoding": encoding})
        answer = connection.getresponse()
        assert encoding == answer.getheader("Content-Encoding", "identity")
        return len(answer.read())
    finally:
        connection.close()


def test_size(appliance: Appliance, capsys: pytest.CaptureFixture[str]) -> None:
    """The script is within its budget as a browser receives it."""
    sizes = {encoding: served_bytes(appliance, encoding) for encoding in ("identity", "gzip", "br")}
    with capsys.disabled():
        print("\ntracking.js     raw    gzip  brotli")  # noqa: T201 - a table for people
        print(f"bytes      {''.join(f'{size:8}' for size in sizes.values())}   at most {GZIP_BYTES_MAX} gzip")  # noqa: T201 - the same

    assert sizes["gzip"] <= GZIP_BYTES_MAX


def test_documented() -> None:
    """Every type of event that the tracker records stands in the table of its page, and no other."""
    source = files("evothesis").joinpath("static", "tracking.js").read_text()
    page = (Path(__file__).parents[2] / "docs/tracking.md").read_text()
    table = page.partition("| `eventType` |")[2].partition("\n\n")[0]

    assert set(re.findall(r"record\('(\w+)'", source)) == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))

"""Memory: what encoding and counting take does not grow with the number of rows, nor with the size of an event."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance import ROOT

MEGABYTE = 2**20
GROWTH_BYTES_MAX = 150 * MEGABYTE  # ten times the rows may take so much more
BYTES_MAX = 500 * MEGABYTE

ENCODE = """
import resource, sys
from pathlib import Path
from evothesis.exporter.columns import SCHEMA_VERSION
from evothesis.exporter.encode import Source, encode
from evothesis.exporter.selection import Selection

rows, target, form, count = sys.argv[1:]
encoded = encode(Source(Path(rows), int(count), SCHEMA_VERSION), Path(target), form, Selection())
print(encoded.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_rows(path: Path, count: int, text_length: int) -> None:
    """Rows as the database writes them: most of an event is its JSON, of words that repeat and numbers that do not."""
    chance = random.Random(0)
    words = [f"word{chance.getrandbits(40):x}" for _ in range(500)]
    texts = [" ".join(chance.choices(words, k=text_length // 14)) for _ in range(500)]
    with path.open("w") as file:
        for number in range(count):
            raw = f'{{""eventType"": ""click"", ""n"": {chance.getrandbits(60)}, ""text"": ""{chance.choice(texts)}""}}'
            file.write(
                f"0193{number:08x}-0000-7000-8000-{chance.getrandbits(48):012x},click,s{number},v{number // 9},"
                f"site{number % 7}.example,2026-11-22 09:00:00.{number % 10**6:06d}+00,"
                f"https://site.example/{number}?a=b,/{number},Mozilla/5.0 (X11; Linux x86_64),192.0.2.0,"
                f'"{raw}",2026-11-22 09:00:01.5+00,f,1802744773,{number // 5000},{number % 5000}\n'
            )


def peak_bytes(rows: Path, form: str, count: int) -> int:
    """The most memory that a process of its own has while it encodes these rows, and counts them."""
    command = [sys.executable, "-c", ENCODE, str(rows), str(rows.with_name("file")), form, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found, peak = map(int, done.stdout.split())
    assert count == found
    return peak


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
def test_rows(tmp_path: Path, form: str, record_property: Callable[[str, object], None]) -> None:
    """A million events of a kilobyte take no more than a hundred thousand, and less than 500 MB."""
    peaks = []
    for count in (100_000, 1_000_000):
        rows = tmp_path / "rows.csv"
        write_rows(rows, count, text_length=600)
        peaks.append(peak_bytes(rows, form, count))
    record_property(f"megabytes for {form}, 100 thousand and 1 million rows", [peak // MEGABYTE for peak in peaks])

    assert peaks[1] < BYTES_MAX
    assert peaks[1] - peaks[0] < GROWTH_BYTES_MAX


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
def test_large_events(tmp_path: Path, form: str, record_property: Callable[[str, object], None]) -> None:
    """Events as large as they may be, 32 KB each, take no more than that either."""
    rows = tmp_path / "rows.csv"
    write_rows(rows, 40_000, text_length=30_000)
    peak = peak_bytes(rows, form, 40_000)
    record_property(f"megabytes for {form}, 40 thousand rows of 30 KB", peak // MEGABYTE)

    assert peak < BYTES_MAX

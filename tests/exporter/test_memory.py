"""Memory: what an export takes does not grow with the number of rows, nor with the size of an event."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.exporter.conftest import LOCAL, Exporting
from tests.exporter.seam import HOUR
from tests.exporter.test_crash import begin

MEGABYTE = 2**20
GROWTH_BYTES_MAX = 150 * MEGABYTE  # ten times the rows may take so much more
BYTES_MAX = 500 * MEGABYTE
FORMATS = ["parquet", "csv", "ndjson"]
LOAD_ROWS = 2_000
LOAD_BYTES = 2**23  # when a collector seals a segment, which becomes a load
STEP_ROWS = 1_000_000  # a statement is one transaction, whose log the server keeps until it ends

# a process is told to have had at least what the one had that started it, and pytest grows: so a small one starts it
MEASURE = """
import os, sys

_, status, used = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
with open(sys.argv[1], "w") as file:
    file.write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
EVENTS = """
insert into events_log (writer, segment_no, idx, created_at, event_id, event_type, session_id, visitor_id, site_id,
                        timestamp, url, path, user_agent, ip_address, raw_event_data)
select 1, n / %(load_rows)s, n %% %(load_rows)s, %(hour)s + n * interval '300 microseconds', gen_random_uuid(), 'click',
       's' || n, 'v' || n / 9, 'site' || n %% 7 || '.example', %(hour)s, 'https://site.example/' || n || '?a=b',
       '/' || n, 'Mozilla/5.0 (X11; Linux x86_64)', '192.0.2.0',
       jsonb_build_object('eventType', 'click', 'n', n,
                          'text', (select string_agg(md5(n::text || k), ' ') from generate_series(1, %(words)s) k))
  from generate_series(%(first)s::bigint, %(last)s - 1) n
"""
LOADS = """
insert into loads (writer, segment_no, sha256, hour, first_received_at, last_received_at,
                   accepted, duplicate, rejected, withheld, damaged, bytes)
select writer, segment_no, '', %(hour)s, min(created_at), max(created_at), count(*), 0, 0, 0, 0,
       sum(octet_length(raw_event_data::text) + 300)
  from events_log group by writer, segment_no
"""


def fill(exporting: Exporting, count: int, words: int) -> None:
    """One hour of events, each with so many words of 33 bytes."""
    exporting.database.forget()
    run = exporting.database.connection.execute
    run("select ensure_partitions(%s)", [HOUR.date()])
    load_rows = min(LOAD_ROWS, LOAD_BYTES // (33 * words))
    for first in range(0, count, STEP_ROWS):
        rows = {"first": first, "last": min(first + STEP_ROWS, count), "words": words, "load_rows": load_rows}
        run(EVENTS, rows | {"hour": HOUR + timedelta(seconds=1)})
    run(LOADS, {"hour": HOUR})
    run("insert into writers (writer, next_segment_no) select writer, max(segment_no) + 1 from loads group by writer")


def peak_bytes(exporting: Exporting, forms: list[str], name: str) -> int:
    """The most memory that an export to a new destination has."""
    folder = exporting.appliance.folder
    exporting.deliver_to(LOCAL | {"name": name, "url": f"file:var/{name}", "formats": forms})
    assert 0 == begin(exporting, sys.executable, "-c", MEASURE, str(folder / "peak")).wait()
    shutil.rmtree(folder / "var" / name)  # gigabytes, which the next tests have no use for
    return int((folder / "peak").read_text()) * 1024


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_rows(exporting: Exporting, record_property: Callable[[str, object], None]) -> None:
    """A million events of a kilobyte take no more than a hundred thousand, and less than 500 MB, in each format."""
    peaks: dict[str, list[int]] = {form: [] for form in FORMATS}
    for count in (100_000, 1_000_000):
        fill(exporting, count, words=18)
        for form in FORMATS:
            peaks[form].append(peak_bytes(exporting, [form], f"{form}-{count}"))
    for form, found in peaks.items():
        record_property(f"megabytes for {form}, 100 thousand and 1 million rows", [peak // MEGABYTE for peak in found])

    assert [] == [form for form in FORMATS if peaks[form][1] > BYTES_MAX]
    assert [] == [form for form in FORMATS if peaks[form][1] - peaks[form][0] > GROWTH_BYTES_MAX]


@pytest.mark.long
@pytest.mark.timeout(5_400)
def test_ten_million_rows(exporting: Exporting, record_property: Callable[[str, object], None]) -> None:
    """Ten million events of a kilobyte take no more than a million, and less than 500 MB."""
    peaks = []
    for count in (1_000_000, 10_000_000):
        fill(exporting, count, words=18)
        peaks.append(peak_bytes(exporting, ["parquet"], f"parquet-{count}"))
    record_property("megabytes for parquet, 1 and 10 million rows", [peak // MEGABYTE for peak in peaks])

    assert max(peaks) < BYTES_MAX
    assert peaks[1] - peaks[0] < GROWTH_BYTES_MAX


@pytest.mark.long
@pytest.mark.timeout(900)
def test_large_events(exporting: Exporting, record_property: Callable[[str, object], None]) -> None:
    """Events as large as they may be, 30 KB each, take no more than that either, in all formats at once."""
    fill(exporting, 40_000, words=900)
    peak = peak_bytes(exporting, FORMATS, "large")
    record_property("megabytes for all formats, 40 thousand rows of 30 KB", peak // MEGABYTE)

    assert peak < BYTES_MAX

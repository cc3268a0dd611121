"""Upgrade: what the version before had acknowledged is loaded by this one, and what it delivered is listed as it is."""

from __future__ import annotations

import json
import shutil
import struct
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evothesis.event import COLUMNS
from evothesis.spool.segments import sealed
from evothesis.spool.writer import Writer
from tests.agents import BROWSER, CRAWLER
from tests.appliance import ROOT, Appliance, eventually
from tests.collector.client import collect
from tests.fix_appliance import MakeAppliance
from tests.fix_world import NOW, STORED, World, entry, event

OLDER = 7  # a writer's number
OLDER_URLS = "select distinct url from events_log where writer = 7 and segment_no < 2"
# the next version of the format, of which only the number is another one
NEXT = {
    "spool/frame.py": {
        "VERSION, VERSION_OLDER = 2, 1": "VERSION, VERSION_OLDER = 4, 2",
        'MAGIC, MAGIC_OLDER = b"EVF2", b"EVF1"': 'MAGIC, MAGIC_OLDER = b"EVF4", b"EVF2"',
        'MAGICS_NEWER = (b"EVF4", ': "MAGICS_NEWER = (",
    },
    "loader/content.py": {"enriched(entry) if frame.version == VERSION_OLDER else entry": "entry"},
}
ADVICE = "upgrade evothesis again, and it is loaded; nothing is lost meanwhile"
OWN = COLUMNS[COLUMNS.index("is_bot") :]


def older_frame(number: int, *, segment_no: int, first_row: int = 0) -> bytes:
    """A frame of the format's first version, with one event, as `struct` and a list have it."""
    event_id = f"{number:032x}"
    raw = f'{{"eventType":"click","n":{number}}}'
    values = (NOW.isoformat(), "Agent/1.0", "192.0.2.0", event_id, "click", r"\N", r"\N", "a.example", NOW.isoformat())
    line = "\t".join((*values, r"https://a.example/?utm_source=\\x", "/", raw)).encode()
    payload = msgspec.msgpack.encode([NOW, [[line, event_id, number, "a.example", len(raw)]], [], {}])
    checked = struct.pack("<QII", segment_no, first_row, 1) + payload
    return struct.pack("<4sII", b"EVF1", len(payload), zlib.crc32(checked)) + checked


def put_older(world: World) -> Path:
    """A folder as the version before left it when it was killed: a sealed segment, and one that is open."""
    folder = world.spool / str(OLDER)
    folder.mkdir()
    for name, segment_no, numbers in (("sealed", 0, (1, 2)), ("open", 1, (3,))):
        frames = [older_frame(n, segment_no=segment_no, first_row=row) for row, n in enumerate(numbers)]
        (folder / f"{segment_no:012d}.{name}").write_bytes(b"".join(frames))
    return folder


def test_spool_in_flight(world: World) -> None:
    """Segments of the version before are sealed, continued and loaded; their events have the columns' defaults."""
    folder = put_older(world)
    writer = Writer.claim(world.spool)
    referred = event(4) | {"url": "https://a.example/?utm_source=letter", "data": {"referrer": ""}}
    world.put(entry(referred, agent=BROWSER), writer=writer)

    world.load()
    writer.close()

    assert folder == writer.folder
    assert [(number, False) for number in (1, 2, 3, 4)] == sorted(world.stored())
    nothing: dict[str, Any] = dict.fromkeys(OWN) | {"is_bot": False}
    known = {"browser": "Chrome", "browser_version": "148", "os": "Linux", "device_type": "desktop"}
    assert [*[nothing] * 3, nothing | known | {"referrer_type": "direct", "utm_source": "letter"}] == [
        {name: row[name] for name in OWN} for row in world.rows("select * from events order by raw_event_data -> 'n'")
    ]
    assert [(0, 2), (1, 1), (2, 1)] == world.loads("segment_no", "accepted")
    assert [{"url": "https://a.example/?utm_source=\\x"}] == world.rows(OLDER_URLS)
    assert [{"bots": 0}] == world.rows("select distinct bots from usage_ledger")


def test_loaded_before(world: World, tmp_path: Path) -> None:
    """A segment of the version before is known again by its content: it is not loaded twice."""
    path = put_older(world) / "000000000000.sealed"
    shutil.copy(path, tmp_path / "copy")
    world.load()
    before = world.rows(STORED)
    shutil.copy(tmp_path / "copy", path)
    world.load()

    assert 2 == len(before)
    assert before == world.rows(STORED)
    assert [] == sealed(world.spool)


def test_damaged_older(world: World) -> None:
    """A flipped bit in a segment of the version before costs that frame, and no other."""
    path = put_older(world) / "000000000000.sealed"
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    path.with_name("000000000001.open").unlink()
    world.load()

    assert [(2, False)] == world.stored()
    assert [(1, 1)] == world.loads("accepted", "damaged")


def test_bots(world: World) -> None:
    """What a bot sent is stored, flagged, and counted as a bot's once; what is not stored is no bot's."""
    refused = event(4) | {"timestamp": "no"}
    world.put(entry(event(1), event(2), event(1), refused, agent=CRAWLER), entry(event(3)))

    world.load()

    flags = world.rows("select is_bot, bot_reason from events_log order by idx")
    assert [(True, "Googlebot\\/"), (True, "Googlebot\\/"), (False, None)] == [tuple(row.values()) for row in flags]
    counted = world.rows("select accepted, bots, duplicate, rejected from usage_ledger")
    assert [(3, 2, 1, 1)] == [tuple(row.values()) for row in counted]


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program of the next version lies, which writes another format."""
    folder = tmp_path_factory.mktemp("next")
    shutil.copytree(ROOT / "evothesis", folder / "evothesis", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("migrations", "config.example.toml"):
        (folder / name).symlink_to(ROOT / name)
    for name, changes in NEXT.items():
        path = folder / "evothesis" / name
        text = path.read_text()
        for ours, theirs in changes.items():
            assert 1 == text.count(ours)
            text = text.replace(ours, theirs)
        path.write_text(text)
    return folder


def numbers(appliance: Appliance) -> list[int]:
    """The stored events."""
    return [row["n"] for row in appliance.rows("select (raw_event_data ->> 'n')::int as n from events_log order by n")]


def health(appliance: Appliance) -> Any:  # noqa: ANN401 - any JSON value
    """What the operator's listener says, be it well or not."""
    try:
        with urllib.request.urlopen(f"{appliance.admin_url}/health") as answer:  # noqa: S310 - our own
            return json.load(answer)
    except urllib.error.HTTPError as answer:
        return json.load(answer)


def test_way_back_of_the_format(make_appliance: MakeAppliance, next_version: Path) -> None:
    """What the next version took waits, what comes later does not; it is said what to do; that version loads all."""
    appliance = make_appliance(start=False)
    ours = appliance.environment["PYTHONPATH"]
    appliance.environment["PYTHONPATH"] = str(next_version)
    collecting = appliance.spawn("serve", "--role", "collector")  # no loader: it stays in the spool
    assert 1 == eventually(lambda: collect(appliance.url, event(1)).json["accepted"])
    collecting.terminate()
    assert 0 == collecting.wait()
    (left,) = appliance.spool.glob("*/*.sealed")
    before = left.read_bytes()

    appliance.environment["PYTHONPATH"] = ours
    appliance.start()
    assert 1 == collect(appliance.url, event(2)).json["accepted"]
    eventually(lambda: [2] == numbers(appliance))
    reasons = eventually(lambda: health(appliance)["advice"])
    findings = json.loads(appliance.cli("doctor", "--format", "json").stdout)["findings"]
    appliance.stop()
    meanwhile = left.read_bytes()
    appliance.environment["PYTHONPATH"] = str(next_version)
    appliance.start().wait_until_drained()

    assert (b"EVF4", before) == (before[:4], meanwhile)
    assert [{"what": f"{left.relative_to(appliance.folder)} was written by a newer version", "todo": ADVICE}] == reasons
    assert {ADVICE} == {one["todo"] for one in findings if "newer version" in one["found"]}
    assert [1, 2] == numbers(appliance)

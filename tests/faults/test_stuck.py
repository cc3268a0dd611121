"""A segment cannot be loaded: its writer waits and says why, the other writers go on, a person decides."""

from __future__ import annotations

import logging
from pathlib import Path

import psycopg
import pytest

from evothesis.errors import LoadError
from evothesis.event import encode_entry
from evothesis.spool.frame import MAGIC, MAGICS_NEWER, Frame, encode
from evothesis.spool.writer import Writer
from tests.appliance import Appliance, eventually
from tests.faults.loading import Loading
from tests.fix_appliance import MakeAppliance
from tests.fix_world import World, entry, event

LIVENESS_SECONDS_MAX = 10


@pytest.fixture
def other(world: World) -> Writer:
    """Another writer of the world's spool, whose first event is number 100."""
    other = Writer.claim(world.spool)
    world.put(entry(event(100)), writer=other)
    return other


@pytest.fixture
def commands(world: World, make_appliance: MakeAppliance) -> Appliance:
    """What an operator may type; nothing is served."""
    return make_appliance({"database": {"url": world.database}, "spool": {"path": str(world.spool)}}, start=False)


def numbers(world: World) -> list[int]:
    """The stored events."""
    return sorted(number for number, _ in world.stored())


def test_unknown_frame(world: World, other: Writer, caplog: pytest.LogCaptureFixture) -> None:
    """A sound frame of a kind that this version cannot read is not skipped: it waits for one that can."""
    world.put(entry(event(0)))
    world.writer.append([(b"written by a newer version", 1)])
    path = world.put(entry(event(2)))
    with Loading(world, world.database) as loading:
        said = str(eventually(lambda: loading.troubles[1]))
        eventually(lambda: [0, 100] == numbers(world))
        world.put(entry(event(101)), writer=other)
        eventually(lambda: [0, 100, 101] == numbers(world))
        readable = (encode_entry(entry(event(1))), encode_entry(entry(event(2))))
        frames = [encode(Frame(number, 1, payload), segment_no=1) for number, payload in enumerate(readable)]
        readable_path = path.with_suffix(".readable")
        readable_path.write_bytes(b"".join(frames))
        readable_path.rename(path)
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)
        eventually(lambda: loading.troubles == (None, None))
    other.close()

    assert str(path) in said
    assert "cannot read" in said
    assert [0, 1, 2, 100, 101] == numbers(world)
    assert ["Writer waits."] == [one.message for one in caplog.records if one.levelno == logging.ERROR]


def test_newer_version(world: World, other: Writer) -> None:
    """A segment of a newer version, from which an operator went back, is not damage: it waits for that version."""
    path = world.put(entry(event(0)))
    data = path.read_bytes()
    path.write_bytes(MAGICS_NEWER[0] + data[len(MAGIC) :])
    with Loading(world, world.database) as loading:
        said = str(eventually(lambda: loading.troubles[1]))
        eventually(lambda: [100] == numbers(world))
        path.write_bytes(data)
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)
    other.close()

    assert "newer version" in said
    assert [0, 100] == numbers(world)


def test_gap(world: World, other: Writer, commands: Appliance, tmp_path: Path) -> None:
    """Segments that are gone hold their writer up until somebody gives them up, which is on record with the reason."""
    segments = [world.put(entry(event(number))) for number in range(4)]
    for path in segments[1:3]:
        path.rename(tmp_path / path.name)
    name = str(world.writer.writer)
    with Loading(world, world.database) as loading:
        eventually(lambda: f"segment 1 of writer {name} is missing" in str(loading.troubles[1]))
        eventually(lambda: [0, 100] == numbers(world))
        shown = commands.cli("accept-loss")
        refused = [commands.cli("accept-loss", "--writer", *more) for more in ([name], ["1", "--reason", "why"])]
        kept = numbers(world)
        done = commands.cli("accept-loss", "--writer", name, "--reason", "the disk of Sunday")
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)
        eventually(lambda: loading.troubles == (None, None))
    again = commands.cli("accept-loss")
    other.close()

    assert (0, f"writer {name}: segments 1 to 2 are missing\n") == (shown.returncode, shown.stdout)
    assert [2, 2] == [one.returncode for one in refused]
    assert [0, 100] == kept
    assert 0 == done.returncode, done.stderr
    assert (0, "nothing is missing\n") == (again.returncode, again.stdout)
    assert [0, 3, 100] == numbers(world)
    lost = world.rows("select segment_no, accepted from loads where lost order by segment_no")
    assert [{"segment_no": 1, "accepted": 0}, {"segment_no": 2, "accepted": 0}] == lost
    details = {"writer": int(name), "first": 1, "last": 2, "reason": "the disk of Sunday"}
    assert [{"action": "accept-loss", "details": details}] == world.rows("select action, details from audit_log")


def test_lost_segment_returns(world: World, commands: Appliance, tmp_path: Path) -> None:
    """A segment that was given up and comes back is not taken for loaded: its events are not thrown away unseen."""
    segments = [world.put(entry(event(number))) for number in range(3)]
    segments[1].rename(tmp_path / "lost")
    with Loading(world, world.database) as loading:
        eventually(lambda: loading.troubles[1])
        done = commands.cli("accept-loss", "--writer", str(world.writer.writer), "--reason", "gone")
        assert 0 == done.returncode, done.stderr
        loading.wait_until_drained(LIVENESS_SECONDS_MAX)
        (tmp_path / "lost").rename(segments[1])
        eventually(lambda: "given up" in str(loading.troubles[1]))

    assert [0, 2] == numbers(world)
    assert segments[1].exists()


def test_too_much_to_count(world: World, other: Writer) -> None:
    """A segment whose counts the database cannot hold is not skipped, and no other writer waits for it."""
    path = world.put(entry(event(0), withheld={"a.example": 2**31}))
    with Loading(world, world.database) as loading:
        said = str(eventually(lambda: loading.troubles[1]))
        eventually(lambda: [100] == numbers(world))
        world.put(entry(event(101)), writer=other)
        eventually(lambda: [100, 101] == numbers(world))
    other.close()

    assert f"segment 0 of writer {world.writer.writer} cannot be stored: integer out of range" == said
    assert path.exists()


def test_kept_segment_unreadable(world: World) -> None:
    """After a restore nothing is loaded behind a kept segment that cannot be read: events would change places."""
    world.put(entry(event(0)))
    world.load()
    world.put(entry(event(1)))
    path = next(world.spool.glob("*/loaded/*/*"))
    data = path.read_bytes()
    path.write_bytes(encode(Frame(0, 1, b"written by a newer version"), segment_no=0))
    with psycopg.connect(world.database) as connection:
        connection.execute("set session_replication_role = replica")  # the ledger refuses this to everybody else
        connection.execute("truncate events_log, loads, usage_ledger, dedup_keys, writers")
    with pytest.raises(LoadError, match=r"cannot load again what the database lost: .* cannot read"):
        world.load()
    meanwhile = numbers(world)
    path.write_bytes(data)
    world.load()

    assert [] == meanwhile
    assert [0, 1] == numbers(world)


def test_spool_away(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A spool that is gone for a while, as on a disk that is not mounted, is said once; then the loader goes on."""
    with Loading(world, world.database) as loading:
        world.put(entry(event(0)))
        loading.wait_until_drained()
        world.spool.rename(tmp_path / "elsewhere")
        eventually(lambda: "Heartbeat not written." in caplog.messages)
        (tmp_path / "elsewhere").rename(world.spool)
        world.put(entry(event(1)))
        loading.wait_until_drained()
        eventually(lambda: loading.troubles == (None, None))

    assert [0, 1] == numbers(world)
    assert ["Writer waits."] == [one.message for one in caplog.records if one.levelno == logging.ERROR]

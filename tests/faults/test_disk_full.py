"""The spool's disk is full, or read-only, or no file may be opened: refusals with 503, no loss, and soon it goes on."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evothesis.loader.run import TIDY_SECONDS
from tests.appliance import Appliance, eventually
from tests.collector.client import ask, collect
from tests.faults.conftest import MakeDisk, command, fill, free
from tests.faults.loading import Loading
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome
from tests.fix_world import World, entry, event

DISK_BYTES = 32 * 2**20  # loaded segments stay for some seconds
EVENTS_PER_SECOND = 200
FILLS, FILLS_LONG = 3, 20
LIVENESS_SECONDS_MAX = 10
FULL_SECONDS = 1.5  # longer than the collectors take to look at the spool again
PROBE = {"eventType": "batch", "events": [{"eventType": "click", "timestamp": "no time"}]}  # kept, and never stored

Invariants = Callable[[Appliance, Oracle], Outcome]


@pytest.fixture
def disk(make_disk: MakeDisk) -> Path:
    """Where the spool lies."""
    return make_disk(DISK_BYTES)


@pytest.fixture
def appliance_on_disk(disk: Path, make_appliance: MakeAppliance) -> Appliance:
    """An appliance whose spool lies on the small disk, and that keeps nothing of what is loaded."""
    appliance = make_appliance({"spool": {"path": str(disk / "spool"), "loaded_bytes_max": 0}})
    appliance.spool = disk / "spool"
    return appliance


def answers(oracle: Oracle) -> Counter[str]:
    """What the senders were told so far: "acked", "refused" (the request was wrong), or why nobody knows."""
    found: Counter[str] = Counter()
    for line in oracle.journal._path.read_bytes().split(b"\n")[:-1]:  # the last may be unfinished
        entry = json.loads(line)
        if "answer" in entry:
            found[str(entry.get("reason", entry["answer"]))] += 1
    return found


def kept(world: World) -> list[Path]:
    """The loaded segments that are still there."""
    return list(world.spool.glob("*/loaded/*/*"))


def wait_for_acks(oracle: Oracle) -> None:
    """Return when events are acknowledged again, which is soon."""
    before = oracle.journal.read().acked.total()
    eventually(lambda: oracle.journal.read().acked.total() > before + 50, timeout=LIVENESS_SECONDS_MAX)


@pytest.mark.crash
@pytest.mark.parametrize("fills", [FILLS, pytest.param(FILLS_LONG, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_full_disk(
    disk: Path, appliance_on_disk: Appliance, make_oracle: MakeOracle, invariants: Invariants, fills: int
) -> None:
    """A disk that is full again and again costs refusals, all of them 503 with Retry-After, and no event."""
    appliance = appliance_on_disk
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    for _ in range(fills):
        wait_for_acks(oracle)
        refused = answers(oracle)["503"]
        until = time.monotonic() + FULL_SECONDS
        while time.monotonic() < until or answers(oracle)["503"] == refused:
            fill(disk)  # what the loader takes away makes room
            time.sleep(0.05)
        refusal = collect(appliance.url, PROBE)
        free(disk)

        assert (503, "5") == (refusal.status, refusal.headers["Retry-After"])

    wait_for_acks(oracle)
    assert {"acked", "refused", "503"} >= set(answers(oracle))
    invariants(appliance, oracle)


@pytest.mark.crash
def test_health(disk: Path, appliance_on_disk: Appliance) -> None:
    """A load balancer that asks is told that a full disk takes no events, and that it takes them again."""

    def health() -> int:
        fill(disk)
        collect(appliance_on_disk.url, PROBE)
        return ask(appliance_on_disk.url, "GET", "/health").status

    def health_after() -> int:
        free(disk)
        return ask(appliance_on_disk.url, "GET", "/health").status

    eventually(lambda: health() == 503, timeout=LIVENESS_SECONDS_MAX)
    eventually(lambda: health_after() == 200, timeout=LIVENESS_SECONDS_MAX)


@pytest.mark.crash
def test_read_only(disk: Path, appliance_on_disk: Appliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """A spool that becomes read-only, also for processes that start, costs refusals and no event."""
    appliance = appliance_on_disk
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    # a file that is open for writing stays so: this is all that the kernel does to a file system in use. It is made
    # read-only at another place, where nobody can open a file meanwhile.
    aside = disk.with_name("aside")
    aside.mkdir()
    command("mount", "--bind", str(disk), str(aside))
    command("mount", "-o", "remount,bind,ro", str(aside))
    command("mount", "--bind", str(aside), str(disk))
    command("umount", str(aside))
    pid = appliance.kill("evothesis: collector 0")
    appliance.kill("evothesis: loader")
    eventually(lambda: collect(appliance.url, PROBE).status == 503)  # each time over a new connection
    assert pid != (started := appliance.pid("evothesis: collector 0"))
    time.sleep(FULL_SECONDS)
    assert started == appliance.pid("evothesis: collector 0")
    command("umount", str(disk))

    wait_for_acks(oracle)
    assert {"acked", "refused", "503", "ServerDisconnectedError", "ClientOSError"} >= set(answers(oracle))
    invariants(appliance, oracle)


@pytest.mark.crash
def test_no_more_files(appliance: Appliance, make_oracle: MakeOracle, invariants: Invariants) -> None:
    """Collectors that may open no more files neither end nor lose anything, and go on when they may."""
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    pids = [appliance.pid(f"evothesis: collector {number}") for number in range(2)]
    limits = [resource.prlimit(pid, resource.RLIMIT_NOFILE, no_more(pid)) for pid in pids]
    time.sleep(2 * FULL_SECONDS)
    for pid, limit in zip(pids, limits, strict=True):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)

    wait_for_acks(oracle)
    assert pids == [appliance.pid(f"evothesis: collector {number}") for number in range(2)]
    invariants(appliance, oracle)


def no_more(pid: int) -> tuple[int, int]:
    """The limit under which a process can open nothing: new files get the lowest number that is free."""
    used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return min(set(range(len(used) + 1)) - used), hard


def test_kept_segments_make_room(disk: Path, database: str) -> None:
    """On a disk that fills up, what was kept for a restore goes at once, so that events can be taken and loaded."""
    with closing(World(database, disk / "spool")) as world:
        with Loading(world, database) as loading:
            for number in range(5):
                world.put(entry(event(number)))
            loading.wait_until_drained()
            before = kept(world)
            fill(disk)
            eventually(lambda: kept(world) == [], timeout=TIDY_SECONDS / 2)
            world.put(entry(event(5)))
            loading.wait_until_drained()
        stored = world.stored()

    assert 5 == len(before)
    assert [(number, False) for number in range(6)] == stored

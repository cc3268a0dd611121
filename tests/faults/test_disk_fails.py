"""The spool's file system gives up, as the kernel lets it when its journal cannot be written: nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.appliance import Appliance, eventually
from tests.collector.client import collect
from tests.faults.conftest import command
from tests.faults.test_disk_full import PROBE, answers, wait_for_acks
from tests.fix_appliance import MakeAppliance
from tests.fix_oracle import MakeOracle, Oracle, Outcome

DISK_BYTES = 64 * 2**20
EVENTS_PER_SECOND = 200

Invariants = Callable[[Appliance, Oracle], Outcome]


class Disk:
    """An ext4 file system in a file, which can be made to fail."""

    def __init__(self, folder: Path) -> None:
        """Make and mount it."""
        assert os.geteuid() == 0, "this test mounts a file system: run it as root"
        self.folder = folder / "disk"
        self.folder.mkdir()
        self._image = folder / "image"
        with self._image.open("wb") as image:
            image.truncate(DISK_BYTES)
        command("mkfs.ext4", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount it; its journal is replayed."""
        command("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Nobody uses it any more."""
        command("umount", str(self.folder))

    def fail(self) -> None:
        """Let the kernel meet an error in it: it ends the journal, and nothing is written from then on."""
        device = self.folder.stat().st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("on purpose")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own."""
    disk = Disk(tmp_path)
    yield disk
    if disk.folder.is_mount():
        command("umount", "--lazy", str(disk.folder))


@pytest.mark.crash
@pytest.mark.long
def test_failed_disk(
    disk: Disk, make_appliance: MakeAppliance, make_oracle: MakeOracle, invariants: Invariants
) -> None:
    """A file system that fails under load acknowledges nothing that is not there when it was mounted anew."""
    appliance = make_appliance({"spool": {"path": str(disk.folder / "spool")}})
    appliance.spool = disk.folder / "spool"
    oracle = make_oracle(appliance, connections=4, events_per_second=EVENTS_PER_SECOND)
    oracle.run()
    wait_for_acks(oracle)
    disk.fail()
    eventually(lambda: answers(oracle)["503"])
    eventually(lambda: collect(appliance.url, PROBE).status == 503)
    appliance.destroy()
    disk.unmount()
    disk.mount()
    appliance.start()

    wait_for_acks(oracle)
    invariants(appliance, oracle)

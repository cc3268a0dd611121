"""Rclone: a second store that speaks S3, and overwrites what it is told not to.

    def test_one(rclone): ...    # rclone.destination() is a [[export.destination]]

It keeps each object as a file of the same name, and looks at who asks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.appliance import eventually
from tests.collector.client import ask
from tests.processes import free_ports

START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10
ACCESS_KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "an-example-secret-of-forty-characters-00"


class Rclone:
    """A running server and the folder of its only bucket."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        """`folder` holds a folder for each bucket."""
        self.folder = folder / "bucket"
        self.endpoint = endpoint
        self.folder.mkdir()

    def destination(self, name: str = "client") -> dict[str, Any]:
        """A table of [[export.destination]]."""
        return {
            "name": name,
            "url": "s3://bucket/some/prefix",
            "endpoint": self.endpoint,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": SECRET,
        }

    def objects(self) -> dict[str, bytes]:
        """Every object below the prefix, by its key without the prefix."""
        root = self.folder / "some/prefix"
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Rclone]:
    """A server of this test's own."""
    (port,) = free_ports(1)
    folder = tmp_path / "rclone"
    folder.mkdir()
    address = f"127.0.0.1:{port}"
    command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(folder), "--addr", address]
    command += ["--auth-key", f"{ACCESS_KEY_ID},{SECRET}", "--vfs-cache-mode", "off", "--config", os.devnull]
    with (tmp_path / "rclone.log").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        made = Rclone(folder, f"http://{address}")

        def answers() -> bool:
            assert process.poll() is None, (tmp_path / "rclone.log").read_text()
            return ask(made.endpoint, "GET", "/").status > 0

        eventually(answers, timeout=START_SECONDS_MAX)
        yield made
    finally:
        process.terminate()
        process.wait(STOP_SECONDS_MAX)

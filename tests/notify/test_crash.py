"""Crashes: `evothesis usage notify` is killed before and after what it says to its database and to the webhook."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import tomli_w
from aiohttp import web

from evothesis import outbox
from evothesis.configuration import load
from evothesis.notify.run import run
from tests.appliance import ROOT
from tests.faults.proxy import AFTER, BEFORE, Proxy
from tests.notify.ledger import Ledger
from tests.notify.receiver import SECRET, Receiver

SAMPLE = 3
STEPS_MIN = 20  # a run has a few more
RUN_SECONDS_MAX = 60


class World:
    """An outbox, a receiver, and runs in processes of their own, of which every step can be the last."""

    def __init__(self, ledger: Ledger, receiver: Receiver, proxy: Proxy, folder: Path) -> None:
        """Nothing is told."""
        self._ledger, self._receiver, self._folder = ledger, receiver, folder
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._at, self._place, self._steps = -1, BEFORE, 0
        self.sites: list[str] = []
        notify = {"webhook_url": receiver.url, "webhook_secret": SECRET, "webhook_private": True}
        settings: dict[str, Any] = {"database": {"url": proxy.dsn}, "notify": notify}
        (folder / "config.toml").write_text(tomli_w.dumps(settings))
        proxy.cut(self._word)
        receiver.answer = self._answer

    def run(self, at: int = -1, place: str = BEFORE) -> int:
        """Run in a process that is killed at its step `at`; how it ended."""
        with self._lock:  # no step is taken before it is known whose it is
            self._at, self._place, self._steps = at, place, 0
            with (self._folder / "notify.log").open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "evothesis", "usage", "notify", "--config", "config.toml"],
                    cwd=self._folder,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
        code = self._process.wait(RUN_SECONDS_MAX)
        with self._lock:
            self._process = None
        return code

    def finish(self) -> None:
        """Run in this process, without the start of a command."""
        run(load(self._folder / "config.toml", {}), self._ledger.connection, lambda: datetime.now(UTC))

    def happen(self) -> None:
        """Something that is to be told."""
        self.sites.append(f"{len(self.sites)}.example")
        data = {"site_id": self.sites[-1], "first_received_at": None}
        outbox.add(self._ledger.connection, "site.discovered", self.sites[-1], data)

    def check(self) -> None:
        """All that happened was told, each under one id, and nothing else is waiting."""
        told = {
            (received.payload["data"]["site_id"], received.message_id)
            for received in self._receiver.received
            if received.payload["type"] == "site.discovered"
        }
        assert sorted(self.sites) == sorted(site for site, _ in told)
        assert {(True, None)} == set(self._ledger.deliveries("delivered", "next_attempt_at"))

    def _step(self) -> str:
        with self._lock:
            self._steps += 1
            if self._process is None or self._steps - 1 != self._at:
                return ""
            self._process.kill()
            return self._place

    def _word(self, _number: int, _word: bytes) -> str:
        return self._step()

    def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._step() == BEFORE:  # the message was received, and the answer does not arrive
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=204)


@pytest.fixture
def world(ledger: Ledger, receiver: Receiver, tmp_path: Path) -> Any:  # noqa: ANN401 - a generator of a World
    """Nothing is told."""
    proxy = Proxy(ledger.url)
    try:
        yield World(ledger, receiver, proxy, tmp_path)
    finally:
        proxy.close()


@pytest.mark.crash
def test_sample(world: World) -> None:
    """Killed at some steps, drawn anew for each run, the next one tells what was not told, under the same id."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    chance = random.Random(seed)
    for _ in range(SAMPLE):
        world.happen()
        assert -signal.SIGKILL == world.run(chance.randrange(STEPS_MIN), chance.choice([BEFORE, AFTER]))

    assert 0 == world.run()
    world.check()


@pytest.mark.crash
@pytest.mark.long
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("place", [BEFORE, AFTER])
def test_every_step(world: World, place: str) -> None:
    """Killed at each of its steps in turn, it loses nothing and changes no id."""
    killed = 0
    world.happen()
    while world.run(killed, place) == -signal.SIGKILL:
        world.finish()
        killed += 1
        world.happen()

    assert killed > STEPS_MIN
    world.check()

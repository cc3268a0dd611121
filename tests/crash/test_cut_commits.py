"""The loader's connection is cut at a COMMIT: whether it happened is unknown, and each event is stored once."""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.appliance import eventually
from tests.fix_world import World, entry, event

CUTS, CUTS_LONG = 12, 200
COMMIT = re.compile(rb"\bcommit\b", re.IGNORECASE)


class Cutter:
    """A way to PostgreSQL that ends at some of the COMMITs: in front of the server, or on the way back from it."""

    def __init__(self, server: Path, folder: Path, chance: random.Random) -> None:
        """Listen in `folder` for what goes to the socket `server`."""
        self.cuts = {"before": 0, "after": 0}
        self.is_cutting = True
        self._server = server
        self._chance = chance
        self._places: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / server.name))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End; all connections have ended."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            cut = threading.Event()
            for pump in (self._to_server, self._to_client):
                self._threads.append(threading.Thread(target=pump, args=(client, server, cut)))
                self._threads[-1].start()

    def _to_server(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(2**16):
                place = self._next_place() if self.is_cutting and COMMIT.search(data) else "nowhere"
                if place != "nowhere":
                    self.cuts[place] += 1
                    cut.set()
                if place == "before":
                    break
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _next_place(self) -> str:
        if not self._places:
            self._places = ["before", "after", "nowhere"]  # each comes to its turn
            self._chance.shuffle(self._places)
        return self._places.pop()

    def _to_client(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            # what the server says after the cut it says to nobody
            while (data := server.recv(2**16)) and not cut.is_set():
                client.sendall(data)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        server.close()


@pytest.fixture
def chance() -> random.Random:
    """Chance, with its seed printed."""
    seed = random.randrange(10**6)
    print(f"{seed=}")  # noqa: T201 - pytest shows it with a failure
    return random.Random(seed)


@pytest.fixture
def cutter(world: World, tmp_path: Path, chance: random.Random) -> Iterator[Cutter]:
    """The way that the world's loader takes."""
    folder = world.database.partition("host=")[2].partition(" ")[0]
    cutter = Cutter(Path(folder) / ".s.PGSQL.5432", tmp_path, chance)
    yield cutter
    cutter.close()


@pytest.mark.crash
@pytest.mark.parametrize("cuts", [CUTS, pytest.param(CUTS_LONG, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_cut_commits(world: World, cutter: Cutter, tmp_path: Path, cuts: int) -> None:
    """After any row of cuts every event is stored once, in its load, and billed once."""
    folder = world.database.partition("host=")[2].partition(" ")[0]
    straight = world.database
    world.database = straight.replace(folder, str(tmp_path))
    stop = threading.Event()
    thread = threading.Thread(target=world.loader(stop).run)
    thread.start()
    events = 0
    try:
        while sum(cutter.cuts.values()) < cuts:
            world.put(entry(event(events), event(events + 1), event(events)))
            events += 2
            eventually(lambda: not list(world.spool.glob("*/*.sealed")), timeout=30)
    finally:
        cutter.is_cutting = False
        stop.set()
        thread.join()
    world.database = straight

    assert list(range(events)) == sorted(number for number, _ in world.stored())
    assert [(2, 1)] * (events // 2) == world.loads("accepted", "duplicate")
    assert min(cutter.cuts.values()) > 0

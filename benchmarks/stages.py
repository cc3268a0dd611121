"""Stages: microseconds of CPU that one event costs in each step, and the three largest of them.

The collector runs in this process, under load over loopback, with its spool on disk; its CPU is divided by sampling.
Then its segments are loaded from this process, step by step, with the CPU of the client and of its backend.
"""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks import report
from benchmarks.machine import PROC, Usage, Watch
from benchmarks.sampler import Sampler
from benchmarks.systems import ROOT, Database, free_port
from evothesis import listener, pg
from evothesis.collector.commit import Committer
from evothesis.collector.reception import Shared
from evothesis.collector.server import Server as CollectorServer
from evothesis.config import Config, Limits, Server, Spool
from evothesis.loader.content import read
from evothesis.loader.dedup import judge
from evothesis.loader.load import load
from evothesis.loader.store import store
from evothesis.spool.segments import Segment, sealed

STAGES = {
    "collector/http": "HTTP",
    "collector/connection": "HTTP",
    "collector/message": "HTTP",
    "collector/reception": "HTTP",
    "collector/aside": "HTTP",
    "collector/door": "HTTP",
    "collector/stranger": "HTTP",
    "collector/limits": "HTTP",
    "listener": "HTTP",
    "others": "HTTP",
    "collector/decode": "decode",
    "collector/parse": "parse",
    "collector/intake": "parse",
    "collector/privacy": "privacy",
    "collector/enrichment": "enrichment",
    "event": "format",
    "collector/commit": "spool append",
    "spool/writer": "spool append",
    "spool/frame": "spool append",
    "spool/segments": "spool append",
}
SPOOL_BYTES_MAX = 2**40
FUNCTIONS_SHOWN = 15


class Collected:
    """A collector under load: CPU of its main thread and of its spool's thread, and what was sampled."""

    def __init__(self, spool: Path, requests: int) -> None:
        """Run it to its end."""
        self._config = Config(
            server=Server(host="127.0.0.1", port=free_port()),
            limits=Limits(per_address=0),
            spool=Spool(path=spool, bytes_max=SPOOL_BYTES_MAX),
        )
        self._requests = requests
        self.sampler = Sampler()
        self.events = 0
        self.main_seconds = self.thread_seconds = 0.0
        listener.run(self._main)

    async def _main(self, _stopped: asyncio.Event) -> None:
        committer = Committer(self._config.spool)
        await committer.open()
        writing = asyncio.create_task(committer.run())
        server = await CollectorServer.open(
            self._config, committer, Shared.begin(self._config, datetime.now(UTC).date())
        )
        await self._send(max(100, self._requests // 5))  # warm up
        gc.collect()
        gc.freeze()
        with self.sampler:
            cpu, main = time.process_time(), time.thread_time()
            self.events = await self._send(self._requests)
            self.main_seconds = time.thread_time() - main
            self.thread_seconds = time.process_time() - cpu - self.main_seconds
        await server.close()
        committer.close()
        await writing

    async def _send(self, requests: int) -> int:
        url = f"http://127.0.0.1:{self._config.server.port}/collect"
        command = [sys.executable, "-m", "benchmarks.load", url, "--requests", str(requests)]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        return int(json.loads(output)["events_acked"])

    def stages(self) -> dict[str, float]:
        """Microseconds of CPU for each event."""
        samples: Counter[str] = Counter()
        for module, count in self.sampler.modules.items():
            stage = STAGES.get(module) or STAGES.get(module.rpartition("/")[0], "HTTP")
            samples[stage] += count
        # the signal counts the spool's thread too, and reaches the main thread wherever it is, which is mostly idle
        all_seconds = self.main_seconds + self.thread_seconds
        seconds = {stage: count / self.sampler.total * all_seconds for stage, count in samples.items()}
        seconds["HTTP"] = seconds.get("HTTP", 0) - self.thread_seconds
        seconds["spool append"] = seconds.get("spool append", 0) + self.thread_seconds
        return {stage: seconds.get(stage, 0) / self.events * 1e6 for stage in dict.fromkeys(STAGES.values())}


class Loaded:
    """Segments, loaded step by step: CPU of this process and of its backend."""

    def __init__(self, database: Database, segments: list[Segment]) -> None:
        """Half of the segments are taken apart, half are loaded as the loader does."""
        self.client: dict[str, float] = defaultdict(float)
        self.backend: dict[str, float] = defaultdict(float)
        self.events: Counter[str] = Counter()
        with pg.connect(database.dsn, name="stages") as connection:
            self._backend = connection.info.backend_pid
            connection.execute("set enable_hashjoin = off")
            connection.execute("set enable_mergejoin = off")
            for number, segment in enumerate(segments):
                self._whole(connection, segment) if number % 2 else self._parts(connection, segment)

    def _whole(self, connection: pg.Connection, segment: Segment) -> None:
        before = self._look()
        content = read(segment)
        load(connection, segment, content)
        self._note("whole", before, len(content.rows))

    def _parts(self, connection: pg.Connection, segment: Segment) -> None:
        """The two large steps by themselves, taken back; then what the loader does, uncounted."""
        before = self._look()
        content = read(segment)
        rows = len(content.rows)
        before = self._note("read", before, rows)
        if not rows:
            return
        connection.execute("select ensure_partitions(%(day)s)", {"day": content.day})
        with connection.transaction(force_rollback=True):
            before = self._look()
            verdict = judge(connection, content.rows, content.day, expects_duplicates=False)
            before = self._note("dedup", before, rows)
            store(connection, segment, content, verdict, careful=False)
            self._note("COPY", before, rows)
        load(connection, segment, content)

    def _look(self) -> tuple[float, float]:
        # nanoseconds on a CPU: proc_pid_schedstat, the first field
        backend = int((PROC / str(self._backend) / "schedstat").read_text().split()[0]) / 1e9
        return time.process_time(), backend

    def _note(self, step: str, before: tuple[float, float], events: int) -> tuple[float, float]:
        now = self._look()
        self.client[step] += now[0] - before[0]
        self.backend[step] += now[1] - before[1]
        self.events[step] += events
        return now

    def stages(self) -> dict[str, tuple[float, float]]:
        """Microseconds of the client and of the backend, for each event."""
        found = {
            step: (self.client[step] / events * 1e6, self.backend[step] / events * 1e6)
            for step, events in self.events.items()
            if events
        }
        whole = found.pop("whole")
        parts = list(found.values())
        found["position, ledger, commit"] = (
            max(0.0, whole[0] - sum(client for client, _ in parts)),
            max(0.0, whole[1] - sum(backend for _, backend in parts)),
        )
        return found


class Found(NamedTuple):
    """Both halves."""

    collected: Collected
    loaded: Loaded
    usage: Usage

    def costs(self) -> dict[str, float]:
        """Microseconds for each event, by step and process."""
        costs = {f"collector: {stage}": value for stage, value in self.collected.stages().items()}
        for step, (client, backend) in self.loaded.stages().items():
            costs[f"loader: {step}"] = client
            costs[f"backend: {step}"] = backend
        return {name: round(value, 2) for name, value in costs.items() if round(value, 2)}


def measure(folder: Path, requests: int) -> Found:
    """Collect into a new spool, load into a new database."""
    shutil.rmtree(folder, ignore_errors=True)
    database = Database(folder / "database")
    database.start()
    try:
        watch = Watch()
        collected = Collected(folder / "spool", requests)
        loaded = Loaded(database, sealed(folder / "spool"))
        return Found(collected, loaded, watch.stop())
    finally:
        database.stop()
        shutil.rmtree(folder)


def main() -> None:
    """Measure, print, write."""
    parser = report.parser("stages", __doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="of ten events (%(default)s)")
    arguments = parser.parse_args()
    found, _rejected = report.patience(arguments).accepted(lambda: measure(arguments.folder, arguments.requests))
    costs = found.costs()
    total = sum(costs.values())
    ordered = sorted(costs.items(), key=lambda item: -item[1])
    functions = [
        [name, f"{count / found.collected.sampler.total:.1%}"]
        for name, count in found.collected.sampler.functions.most_common(FUNCTIONS_SHOWN)
    ]
    lines = [[name, cost, f"{cost / total:.0%}"] for name, cost in costs.items()]
    result = {"costs": costs, "functions": dict(functions), "usage": found.usage.as_json()}
    top = ", ".join(f"{name} ({cost:.1f} µs)" for name, cost in ordered[:3])
    tables = [
        report.table(["step", "µs CPU/event", "share"], [*lines, ["all", round(total, 1), ""]]),
        f"The three largest: {top}.",
        report.table(["functions of the collector", "share of its samples"], functions),
    ]
    report.finish(arguments.json, result, tables)


if __name__ == "__main__":
    report.run(main)

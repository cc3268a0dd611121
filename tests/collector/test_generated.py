"""Generated requests: whatever is sent, the answer is of the contract's form and true, and nobody dies of it."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from evothesis.collector.http import PIXEL
from evothesis.event import Json
from tests.appliance import Appliance
from tests.collector.generated import Made, Maker
from tests.collector.line import Answer, Line
from tests.fix_appliance import MakeAppliance

# what a sender may be told; 503 is for a spool without room, 429 for limits: here is none
STATUSES = {200, 400, 404, 405, 408, 413, 414, 415, 417, 431}
CONNECTIONS = 32
FRESH_SHARE = 0.05  # of requests, which come on a connection of their own
WARM_SHARE = 0.3  # after which caches and pools have the size that they keep
GROWTH_BYTES_MAX = 20 * 2**20
UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)

COUNTS = """
select coalesce(sum(accepted + duplicate), 0)::int as accepted, coalesce(sum(rejected), 0)::int as rejected,
       coalesce(sum(withheld), 0)::int as withheld, coalesce(sum(damaged), 0)::int as damaged from loads
"""
UNSTORABLE = "select message, event from rejected_events where code = 'unstorable' or code ~ '^[0-9A-Z]{5}$' limit 5"


class Witness:
    """What was answered, and what of it was not as it should be."""

    def __init__(self) -> None:
        """Nothing was sent."""
        self.faults: list[str] = []
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.counted: Counter[str] = Counter()  # events, as the answers tell
        self.unsure = 0  # events of requests that nobody answered
        self.accepted: set[str] = set()  # ids
        self.rejected: set[str] = set()

    def hear(self, made: Made, answers: list[Answer]) -> None:
        """Compare what is known of a request with what was answered."""
        if not answers or not made.is_framed:
            self.unsure += len(made.events)
        if made.is_sound and not answers:
            self._blame(made, "no answer")
        for answer in answers:
            self.statuses[made.kind, answer.status] += 1
            try:
                self._judge(made, answer)
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                self._blame(made, f"{type(error).__name__} {error}: {answer.status} {answer.body[:300]!r}")

    def _blame(self, made: Made, what: str) -> None:
        self.faults.append(f"{made.kind}: {what}, to {made.data[:2_000]!r}")

    def _judge(self, made: Made, answer: Answer) -> None:
        assert answer.status in STATUSES, "not a status of the contract"
        if made.kind == "pixel" and answer.status == 200:
            assert answer.body == PIXEL, "not the image"
            self.unsure += 1  # an image cannot tell whether its event was refused
            return
        document = json.loads(answer.body)
        if answer.status != 200:
            assert set(document) == {"error"}, "not the form of an error"
            words = document["error"]
            assert set(words) == {"code", "message"}, "not the form of an error"
            assert all(isinstance(word, str) and word for word in words.values()), "not the form of an error"
            assert not made.is_sound, "a sound request was refused"
            return
        assert b"application/json" in answer.head, "not JSON"
        self._count(made, document)

    def _count(self, made: Made, document: Json) -> None:
        members = {"accepted", "duplicate", "rejected", *(["withheld"] if made.refuses else [])}
        assert set(document) - members <= (set() if made.is_framed else {"withheld"}), "not the form of an answer"
        accepted, withheld = document["accepted"], document.get("withheld", 0)
        refusals = [(one["index"], one["code"], one["message"]) for one in document["rejected"]]
        indexes = [index for index, *_ in refusals]
        assert all(code and message for _, code, message in refusals), "no reason"
        self.counted += Counter(accepted=accepted, rejected=len(refusals), withheld=withheld)
        if not made.is_framed:
            return
        events = made.events
        assert indexes == sorted(set(indexes) & set(range(len(events)))), "indexes that are none"
        if made.refuses:
            assert accepted == 0 <= withheld <= len(events), "stored against the sender's will"
            assert withheld == len(events) or not made.is_sound, "a sound event was refused"
            return
        assert accepted + len(refusals) == len(events), "not the number of events"
        assert not refusals or not made.is_sound, "a sound event was refused"
        for index, event in enumerate(events):
            said = event.get("eventId") if isinstance(event, dict) else None
            if isinstance(said, str) and UUID.fullmatch(said):
                (self.rejected if index in indexes else self.accepted).add(said.replace("-", "").lower())


def memory_bytes(appliance: Appliance) -> dict[int, int]:
    """What each process of ours has of its own, by its id."""
    pids = [pid for pid, title in appliance.processes().items() if "evothesis" in title]
    texts = {pid: Path(f"/proc/{pid}/status").read_text() for pid in pids}
    return {pid: int(text.partition("RssAnon:")[2].split()[0]) * 1024 for pid, text in texts.items()}


async def send(appliance: Appliance, maker: Maker, witness: Witness, count: int) -> None:
    """Send so many requests, over several connections at once."""
    left = iter(range(count))

    async def work() -> None:
        line = Line(appliance.url)
        for _ in left:
            made = maker.make()
            if maker.chance.random() < FRESH_SHARE:
                line.close()
            if made.is_framed:
                answer = await line.ask(made.data)
                witness.hear(made, [answer] if answer else [])
            else:
                witness.hear(made, await line.ask_anything(made.data))
        line.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


@pytest.mark.parametrize(
    ("count", "drawn"),
    [(1_000, 60), pytest.param(100_000, 2_000, marks=[pytest.mark.long, pytest.mark.timeout(1_200)])],
)
def test_generated_requests(
    make_appliance: MakeAppliance, record_property: Callable[[str, object], None], count: int, drawn: int
) -> None:
    """Of any requests each gets a true answer; what was accepted is stored, what was not is not, and nobody dies."""
    seed = random.randrange(2**32)
    print(f"seed: {seed}")  # noqa: T201 - pytest shows it with a test that fails
    appliance = make_appliance()
    maker, witness = Maker(seed, drawn), Witness()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send(appliance, maker, witness, int(count * WARM_SHARE)))
        appliance.wait_until_drained()
        before = memory_bytes(appliance)
        began = time.monotonic()
        runner.run(send(appliance, maker, witness, count - int(count * WARM_SHARE)))
        seconds = time.monotonic() - began
    appliance.wait_until_drained()
    after = memory_bytes(appliance)
    growth = {pid: after.get(pid, 0) - size for pid, size in before.items()}
    record_property(
        "generated requests", f"{count * (1 - WARM_SHARE) / seconds:.0f} a second, {dict(witness.statuses)}"
    )
    record_property("growth", f"{max(growth.values()) / 2**20:.1f} MiB at most in one of {len(growth)} processes")
    stored = {row["id"] for row in appliance.rows("select replace(event_id::text, '-', '') as id from events_log")}
    (loaded,) = appliance.rows(COUNTS)

    assert [] == witness.faults[:5]
    assert set(before) == set(after)
    assert max(growth.values()) < GROWTH_BYTES_MAX
    assert set() == witness.accepted - stored
    assert set() == (witness.rejected - witness.accepted) & stored
    assert [] == appliance.rows(UNSTORABLE)
    assert 0 == loaded.pop("damaged")
    told = {name: witness.counted[name] for name in loaded}
    assert [] == [name for name in loaded if not told[name] <= loaded[name] <= told[name] + witness.unsure]
    assert [] == [word for word in ("Traceback", "ERROR") if word in appliance.output_path.read_text()]

"""Journal: what was sent and what was answered, one JSON object a line, appended before each step is taken.

{"request": 7, "marks": ["e1n60", …], "invalid": ["e1n63"], "text": "{…}"}       about to be sent for the first time
{"request": 7, "answer": "acked", "accepted": 9, "rejected": [3]}              one attempt's end
{"request": 7, "answer": "refused", "status": 400}
{"request": 7, "answer": "unknown", "reason": "ServerDisconnectedError"}
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tests.oracle.stored import digest


class Sent(NamedTuple):
    """An event as it was sent: `raw` is what the sender put there, `context` what its batch said for it."""

    raw: dict[str, Any]
    context: dict[str, Any]
    raw_sha256: str


class Journal:
    """What a journal says so far; `read` takes in what was appended since."""

    def __init__(self, path: Path) -> None:
        """Nothing was read yet."""
        self._path = path
        self._offset = 0
        self._marks: dict[int, list[str]] = {}
        self._rejected: Counter[str] = Counter()
        self.sent: dict[str, Sent] = {}  # what can be accepted, by its mark
        self.invalid: set[str] = set()
        self.acked: Counter[str] = Counter()  # how many copies of an event were acknowledged
        self.unknown: Counter[str] = Counter()  # how many copies were sent and never answered for
        self.surprises: list[str] = []  # answers that no answer should be

    @property
    def refused(self) -> set[str]:
        """Events that were refused each time that they were sent."""
        return {mark for mark in self._rejected if not self.acked[mark] and not self.unknown[mark]}

    def read(self) -> Journal:
        """Take in what is new."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._take(json.loads(line))
                self._offset += len(line)
        return self

    def _take(self, entry: dict[str, Any]) -> None:
        number = entry["request"]
        if "marks" in entry:
            self._marks[number] = entry["marks"]
            self.invalid.update(entry["invalid"])
            if entry["text"] is not None:
                self._remember(json.loads(entry["text"]))
            return
        marks = self._marks[number]
        match entry["answer"]:
            case "unknown":
                self.unknown.update(marks)
            case "refused":
                self._rejected.update(marks)
                self._check(number, marks, set(marks))
            case "acked":
                rejected = {marks[index] for index in entry["rejected"]}
                self._rejected.update(rejected)
                self.acked.update(mark for mark in marks if mark not in rejected)
                self._check(number, marks, rejected)
                if entry["accepted"] != sum(mark not in rejected for mark in marks):
                    self.surprises.append(f"request {number}: {entry['accepted']} accepted of {len(marks)}")

    def _check(self, number: int, marks: list[str], rejected: set[str]) -> None:
        for mark in sorted(set(marks)):
            if (mark in rejected) != (mark in self.invalid):
                verb = "refused" if mark in rejected else "accepted"
                self.surprises.append(f"request {number}: {mark} was {verb}")

    def _remember(self, document: Any) -> None:  # noqa: ANN401 - any JSON value
        is_batch = isinstance(document, dict) and document.get("eventType") == "batch"
        for event in document["events"] if is_batch else [document]:
            if isinstance(event, dict) and event["mark"] not in self.invalid:
                self.sent[event["mark"]] = Sent(event, document if is_batch else {}, digest(event))

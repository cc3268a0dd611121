"""Case: one hostile request, what is answered, and what the database holds of it afterwards.

Each case speaks of a site of its own, which stands for `SITE` in what it sends: by it its events are found again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from evothesis.event import Json

Refused = tuple[int, str]  # an event's place, and the code

EVENT = b'{"eventType":"t","siteId":"SITE"}'
SENT = object()  # the event is stored as it was sent


class Case(NamedTuple):
    """A body that is sent through both doors, unless its headers are not plain."""

    row: int  # of the corpus
    name: str
    body: bytes
    status: int = 200
    code: str = ""  # of an answer other than 200
    accepted: int = 0
    rejected: tuple[Refused, ...] = ()
    columns: Mapping[str, Json] = {}  # of its first event in events_log
    raw: object = SENT  # raw_event_data of that event
    headers: tuple[bytes, ...] = ()
    content_type: bytes = b"application/json"
    is_elsewhere: bool = False  # whether its refused events are kept under another site, or none
    wrap: Callable[[bytes], bytes] = bytes  # what is done to the body before it is sent

    @property
    def id(self) -> str:
        """Its name beside others."""
        return f"{self.row} {self.name}"

    def sent(self, site: str) -> bytes:
        """The body, before it is wrapped."""
        return self.body.replace(b"SITE", site.encode())

    def stored(self, site: str) -> dict[str, Json]:
        """What the first event must have in its row."""
        if not self.accepted:
            return {}
        sent = self.sent(site).decode("utf-8-sig").replace("\\u0000", "\\ufffd")
        raw = sent if self.raw is SENT else json.dumps(self.raw).replace("SITE", site)
        return {**self.columns, "raw_event_data": json.loads(raw)}


def event(data: bytes | str = b"1", **members: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """An event with this JSON as its `data`, and other members."""
    more = "".join(f",{json.dumps(name)}:{json.dumps(value)}" for name, value in members.items())
    said = data.encode() if isinstance(data, str) else data
    return b'{"eventType":"t","siteId":"SITE"%b,"data":%b}' % (more.encode(), said)


def batch(*events: bytes) -> bytes:
    """A batch of these."""
    return b'{"eventType":"batch","siteId":"SITE","events":[%b]}' % b",".join(events)


def keeps(row: int, name: str, body: bytes, **fields: Any) -> Case:  # noqa: ANN401 - the fields of Case
    """The event is stored."""
    return Case(row, name, body, accepted=1, **fields)


def rejects(row: int, name: str, body: bytes, *codes: str, **fields: Any) -> Case:  # noqa: ANN401 - as above
    """Each event is refused with a code, and kept aside; the answer is 200 and says so."""
    return Case(row, name, body, rejected=tuple(enumerate(codes)), **fields)


def fails(row: int, name: str, body: bytes, status: int, code: str, **fields: Any) -> Case:  # noqa: ANN401 - as above
    """The request is refused as a whole, and nothing is stored."""
    return Case(row, name, body, status, code, **fields)


def each(make: Callable[..., Case], row: int, bodies: Mapping[str, bytes], *rest: Any, **fields: Any) -> Iterable[Case]:  # noqa: ANN401 - as above
    """The same outcome for several bodies."""
    return [make(row, name, body, *rest, **fields) for name, body in bodies.items()]

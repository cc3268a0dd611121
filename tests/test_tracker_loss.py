"""tracker_loss: numbered events in, what was sent, received and lost by site and day out, and by month in usage."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from evothesis import pg
from evothesis.usage.loss import Loss, losses
from evothesis.usage.meter import Month

DAY = timedelta(days=1)
INSERT = """
insert into events_log (writer, segment_no, idx, created_at, event_id, event_type, site_id, timestamp, raw_event_data)
values (1, 0, 0, now(), gen_random_uuid(), 'click', %(site)s, now(), %(event)s)
"""


def view(began_at: datetime, number: int = 1) -> str:
    """The id of a page view."""
    hexadecimal = f"{int(began_at.timestamp() * 1000):012x}"
    return f"{hexadecimal[:8]}-{hexadecimal[8:]}-7000-8000-{number:012x}"


def loss(database: str, *events: Any) -> list[tuple[str, int, int, int, int]]:  # noqa: ANN401 - what a stranger sends
    """Store events, each a site and its data; for each site and day: how many days ago, sent, received, lost."""
    with psycopg.connect(database, row_factory=dict_row, autocommit=True) as connection:
        connection.execute("select ensure_partitions(now()::date)")
        for site, data in events:
            connection.execute(INSERT, {"site": site, "event": json.dumps({"data": data})})
        rows = connection.execute("select * from tracker_loss order by site_id, day").fetchall()
    today = datetime.now(UTC).date()
    return [(row["site_id"], (today - row["day"]).days, row["sent"], row["received"], row["lost"]) for row in rows]


def test_gap(database: str) -> None:
    """Of the numbers of a view those that are missing were lost; a repeated one is one."""
    now = datetime.now(UTC)
    events = [("shop", {"viewId": view(now), "sequence": number}) for number in (1, 2, 2, 5)]

    assert [("shop", 0, 5, 3, 2)] == loss(database, *events)


def test_sites_and_days(database: str) -> None:
    """Each site and day has its own sum, by when the views began; a week is told."""
    now = datetime.now(UTC)
    events = [
        ("shop", {"viewId": view(now - days * DAY, number), "sequence": sequence})
        for days, number, sequence in ((0, 1, 1), (0, 2, 3), (6, 1, 2), (7, 1, 9))
    ]

    assert [("blog", 0, 1, 1, 0), ("shop", 6, 2, 1, 1), ("shop", 0, 4, 2, 2)] == loss(
        database, *events, ("blog", {"viewId": view(now), "sequence": 1})
    )


NO_SEQUENCES: tuple[Any, ...] = (0, -1, 1.5, 10**12, "x", None, [1])
NO_VIEWS: tuple[Any, ...] = ("", "x", 7, [], "ffffffff-ffff-7fff-8fff-ffffffffffff")
STRANGE: list[Any] = [
    *(None, [], "text", {"viewId": view(datetime.now(UTC))}, {"sequence": 1}),
    *({"viewId": view(datetime.now(UTC)), "sequence": sequence} for sequence in NO_SEQUENCES),
    *({"viewId": view_id, "sequence": 1} for view_id in NO_VIEWS),
]


@pytest.mark.parametrize("data", STRANGE, ids=range(len(STRANGE)))
def test_strangers(database: str, data: Any) -> None:  # noqa: ANN401 - what a stranger sends
    """What no tracker wrote neither counts nor fails."""
    assert [] == loss(database, ("shop", data))


def test_months(database: str) -> None:
    """A month has the loss of its own days, among the last seven; sites are told apart, and in order."""
    now = datetime.now(UTC)
    days = [now - number * DAY for number in range(7)]
    events = [("shop", {"viewId": view(day), "sequence": sequence}) for day in days for sequence in (1, 3)]
    loss(database, *events, *(("blog", {"viewId": view(day), "sequence": 1}) for day in days))
    following = now.replace(day=1) + 40 * DAY

    with pg.connect(database, name="test") as connection:
        for month, count in Counter(Month(day.year, day.month) for day in days).items():
            expected = [Loss("blog", count, count, count, 0), Loss("shop", count, 3 * count, 2 * count, count)]
            assert expected == losses(connection, month)
        assert [] == losses(connection, Month(following.year, following.month))


def test_month_of_servers(database: str) -> None:
    """A site whose events no tracker numbers has no loss to tell, rather than none."""
    now = datetime.now(UTC)
    loss(database, ("server", {"total": "49.90"}))

    with pg.connect(database, name="test") as connection:
        assert [] == losses(connection, Month(now.year, now.month))

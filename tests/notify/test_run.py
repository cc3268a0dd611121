"""Run: messages of a real outbox, over the network, to a real receiver: each at least once, under the same id."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web

from evothesis import outbox, pg
from evothesis.config import Config
from evothesis.errors import UnreachableError
from evothesis.notify import queue
from evothesis.notify.run import Sent, preview, run
from tests.faults.proxy import AFTER, BEFORE, Proxy
from tests.notify.ledger import Ledger
from tests.notify.receiver import Receiver

NOW = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DATA = {"site_id": "a.example", "first_received_at": NOW}


def go(ledger: Ledger, config: Config, now: datetime = NOW) -> list[Sent]:
    """Run once, with a clock that stands still."""
    return run(config, ledger.connection, lambda: now)


def with_(config: Config, **settings: Any) -> Config:  # noqa: ANN401 - any setting of [notify]
    """The same configuration with other settings of [notify]."""
    return msgspec.structs.replace(config, notify=msgspec.structs.replace(config.notify, **settings))


@pytest.fixture
def outbox_of(ledger: Ledger, config: Config) -> Ledger:
    """The day is told of already; three sites wait."""
    go(ledger, with_(config, webhook_url=""))
    for site in ("a.example", "b.example", "c.example"):
        assert outbox.add(ledger.connection, "site.discovered", site, DATA | {"site_id": site})
    return ledger


def test_sent(outbox_of: Ledger, config: Config, receiver: Receiver) -> None:
    """Every message is sent once, the oldest first, with what happened, when and where."""
    go(outbox_of, config)
    go(outbox_of, config)

    sites = [received.payload["data"]["site_id"] for received in receiver.received]
    assert (["a.example", "b.example", "c.example"], 3) == (sites, len(set(receiver.ids)))
    payload = receiver.received[0].payload
    assert ["type", "timestamp", "instance", "data"] == list(payload)
    assert ("site.discovered", "acme") == (payload["type"], payload["instance"])
    assert {"site_id": "a.example", "first_received_at": "2026-11-25T09:00:00Z"} == payload["data"]
    assert datetime.now(UTC) - datetime.fromisoformat(payload["timestamp"]) < 10 * MINUTE


def test_same_name(outbox_of: Ledger) -> None:
    """The same kind and key is one message, whatever its data."""
    assert not outbox.add(outbox_of.connection, "site.discovered", "a.example", {})
    assert outbox.add(outbox_of.connection, "invoice.closed", "a.example", {})


def test_transaction(ledger: Ledger) -> None:
    """What is rolled back is told to nobody."""
    with ledger.connection.transaction(force_rollback=True):
        outbox.add(ledger.connection, "site.discovered", "a.example", DATA)

    assert [] == ledger.keys("site.discovered")


def test_id() -> None:
    """An id is made of instance, kind and key: a database restored from a backup tells the same under the same id."""
    ids = {queue.identify(*name) for name in (("a", "b", "c"), ("a", "b", "c"), ("x", "b", "c"), ("a", "c", "b"))}

    assert 3 == len(ids)


def test_refused(outbox_of: Ledger, config: Config, receiver: Receiver) -> None:
    """A message that is refused does not hold up the others, and is sent again, later, byte for byte."""
    answers = iter([500, 204, 204, 204])
    receiver.answer = lambda _request: web.Response(status=next(answers))
    go(outbox_of, config)
    assert [1, 1, 1] == [attempts for (attempts,) in outbox_of.deliveries("attempts")]
    assert [(False, "the webhook answered 500"), (True, None), (True, None)] == outbox_of.deliveries(
        "delivered", "error"
    )
    assert [] == go(outbox_of, config, NOW + timedelta(seconds=4))
    go(outbox_of, config, NOW + timedelta(seconds=6))

    first, *_, last = receiver.received
    assert (first.message_id, first.body) == (last.message_id, last.body)
    assert [(2, True, None)] == outbox_of.deliveries("attempts", "delivered", "error")[:1]


@pytest.mark.parametrize("status", [429, 503, None], ids=["busy", "overloaded", "away"])
def test_away(outbox_of: Ledger, config: Config, receiver: Receiver, status: int | None) -> None:
    """A receiver that is busy or away is asked once in a run."""
    receiver.answer = lambda _request: web.Response(status=status or 204)
    tried = go(outbox_of, config if status else with_(config, webhook_url="http://127.0.0.1:1/"))

    assert ([1, 0, 0], True) == ([line[0] for line in outbox_of.deliveries("attempts")], tried[0].attempt.is_passing)
    receiver.answer = lambda _request: web.Response(status=204)
    go(outbox_of, config, NOW + timedelta(minutes=1))
    assert [True] * 3 == [delivered for (delivered,) in outbox_of.deliveries("delivered")]


@pytest.mark.parametrize(("status", "attempts"), [(404, 10), (410, 1)])
def test_given_up(outbox_of: Ledger, config: Config, receiver: Receiver, status: int, attempts: int) -> None:
    """After ten attempts in more than three days a message is given up; after 410 at once."""
    receiver.answer = lambda _request: web.Response(status=status)
    outbox_of.connection.execute("delete from outbox where key <> 'a.example'")
    settings, now, tried = with_(config, webhook_without=("usage.daily",)), NOW, []
    while found := go(outbox_of, settings, now):
        tried += found
        now += timedelta(hours=29)

    assert attempts == len(tried) == len(receiver.received)
    assert [0] * (attempts - 1) + [1] == [len(sent.given_up) for sent in tried]
    assert [(attempts, None, False)] == outbox_of.deliveries("attempts", "next_attempt_at", "delivered")


def test_who_receives(outbox_of: Ledger, config: Config, receiver: Receiver) -> None:
    """A kind that is not wanted is not sent, nor is what happened before there was a receiver; nothing waits for it."""
    go(outbox_of, with_(config, webhook_without=("site.discovered",)))
    outbox.add(outbox_of.connection, "invoice.closed", "2026-10", {"month": "2026-10"})
    go(outbox_of, with_(config, webhook_url=""))
    outbox.add(outbox_of.connection, "invoice.closed", "2026-11", {"month": "2026-11"})
    go(outbox_of, config)

    assert ["2026-11"] == [received.payload["data"].get("month") for received in receiver.received]
    assert 0 == queue.waiting(outbox_of.connection)


def test_expires(outbox_of: Ledger, config: Config) -> None:
    """What is settled is forgotten after 90 days; what waits is not."""
    go(outbox_of, with_(config, webhook_url="http://127.0.0.1:1/"))
    outbox_of.connection.execute("update outbox set created_at = created_at - interval '91 days'")
    outbox_of.connection.execute(
        "update outbox_deliveries set next_attempt_at = null"
        " where outbox_id = (select min(outbox_id) from outbox_deliveries)"
    )
    go(outbox_of, with_(config, webhook_url="http://127.0.0.1:1/"), datetime.now(UTC))

    assert ["b.example", "c.example"] == outbox_of.keys("site.discovered")


def test_preview(outbox_of: Ledger, config: Config, receiver: Receiver) -> None:
    """What would be sent is told, also what is not collected yet, and nothing changes."""
    before = outbox_of.messages()
    found = preview(config, outbox_of.connection, NOW + timedelta(days=1))

    assert ["a.example", "b.example", "c.example", "2026-11-25"] == [message.key for message in found]
    assert (before, [], 0) == (outbox_of.messages(), outbox_of.deliveries("kind"), receiver.asked)


def test_two_at_once(outbox_of: Ledger, config: Config, receiver: Receiver) -> None:
    """Of two runs at once each sends what the other does not."""
    meeting = threading.Barrier(2)

    def one() -> int:
        with pg.connect(outbox_of.url, name="test") as connection:
            meeting.wait(10)
            return len(run(config, connection, lambda: NOW))

    with ThreadPoolExecutor(2) as executor:
        counts = [future.result() for future in [executor.submit(one) for _ in range(2)]]

    assert 3 == sum(counts)
    assert 3 == len(receiver.ids) == len(set(receiver.ids))


@pytest.mark.crash
@pytest.mark.parametrize("place", [BEFORE, AFTER])
def test_cut_anywhere(outbox_of: Ledger, config: Config, receiver: Receiver, place: str) -> None:
    """Cut off from the database at each word in turn, no message is lost, and each has one id."""
    proxy = Proxy(outbox_of.url)
    steps = 0

    def is_cut(at: int) -> bool:
        outbox.add(outbox_of.connection, "site.discovered", f"{at}.example", {"site_id": f"{at}.example"})
        proxy.cut(lambda number, _word: place if number == at else "")
        with suppress(UnreachableError), pg.reporting(), pg.connect(proxy.dsn, name="test") as connection:
            run(config, connection, lambda: NOW)
        return proxy.cuts > 0

    try:
        while is_cut(steps):
            go(outbox_of, config)
            steps += 1
    finally:
        proxy.close()

    sites = ["a.example", "b.example", "c.example", *(f"{number}.example" for number in range(steps + 1))]
    sent = {(received.payload["data"]["site_id"], received.message_id) for received in receiver.received}
    assert steps > 15
    assert sorted(sites) == sorted(site for site, _ in sent)
    assert 0 == queue.waiting(outbox_of.connection)

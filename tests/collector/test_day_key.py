"""Day key: one client has one hash a day, whoever of the collectors saw it; and nobody can find out whose it was."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from datetime import date, timedelta
from pathlib import Path

import pytest

from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.collector.privacy import DayKey, address
from evothesis.config import Privacy
from evothesis.event import encode_entry
from tests.appliance import Appliance
from tests.collector.client import collect
from tests.collector.copy_text import request
from tests.fix_appliance import MakeAppliance

KEY = bytes(range(32))
TODAY = date(2026, 12, 31)
DAY = timedelta(days=1)
CLIENT = "203.0.113.77"
SEEN = """
select count(distinct writer)::int as collectors, array_agg(distinct host(ip_address)) as hashes
  from events_log where site_id = %s
"""


def test_days() -> None:
    """Every day has its key, the same in every process that began with the same one, and no two are alike."""
    one, other = DayKey(KEY, TODAY), DayKey(KEY, TODAY)
    keys = [one.of(TODAY + DAY * number) for number in range(5)]

    assert KEY == keys[0]
    assert (5, {32}) == (len(set(keys)), {len(key) for key in keys})
    assert keys[-1] == other.of(TODAY + 4 * DAY)


def test_step() -> None:
    """A day's key is an HMAC under that of the day before: it says nothing of it."""
    assert hmac.new(KEY, b"the next day", hashlib.sha256).digest() == DayKey(KEY, TODAY).of(TODAY + DAY)


@pytest.mark.parametrize("back_days", [1, 2, 400])
def test_clock_goes_back(back_days: int) -> None:
    """A clock that is set back finds the key of the latest day: that of a day before is not there any more."""
    key = DayKey(KEY, TODAY)
    latest = key.of(TODAY + DAY)

    assert latest == key.of(TODAY + DAY - DAY * back_days)
    assert DayKey(KEY, TODAY).of(TODAY + 2 * DAY) == key.of(TODAY + 2 * DAY)


def test_forked_later() -> None:
    """A process that is forked on another day goes on from the key that its parent has then."""
    parent = DayKey(KEY, TODAY)
    forked = DayKey(parent.of(TODAY + 3 * DAY), TODAY + 3 * DAY)

    assert parent.of(TODAY + 5 * DAY) == forked.of(TODAY + 5 * DAY)


def test_forgotten() -> None:
    """When its day is over nothing that is kept has the key in it, nor an address beside its hash."""
    key = DayKey(KEY, TODAY)
    address(CLIENT, "hash", key.of(TODAY))
    before = address.cache_info().currsize
    key.of(TODAY + DAY)

    assert before > 0
    assert 0 == address.cache_info().currsize
    assert KEY not in vars(key).values()


def test_process_without_use_for_it() -> None:
    """A process that hashes nothing can overwrite what it was forked with."""
    key = DayKey(KEY, TODAY)
    key.forget()

    assert bytes(32) == key.of(TODAY)


def test_key_is_not_kept() -> None:
    """Of a request with a hashed address neither the address nor the key is in what is written."""
    event = {"eventType": "click", "siteId": "s"}
    bad = event | {"timestamp": f"by {CLIENT}"}
    batch = {"eventType": "batch", "events": [event, bad]}
    written = encode_entry(take(request(batch, peer=CLIENT), Policy(Privacy(ip="hash")), salt=KEY).entry)

    assert [] == [form for form in forms(CLIENT) + forms(KEY) if form in written]


def forms(secret: str | bytes) -> list[bytes]:
    """How an address or a key would look in a file."""
    packed = secret if isinstance(secret, bytes) else ipaddress.ip_address(secret).packed
    said = [secret.encode()] if isinstance(secret, str) else [packed, base64.b64encode(packed), repr(packed).encode()]
    return [*said, packed.hex().encode(), packed.hex(" ").encode()]


def hashes(appliance: Appliance, site: str) -> list[str]:
    """The hashes of one client that was seen by both collectors, on connections that the kernel spread over them."""
    events = 0
    while True:
        for _ in range(20):
            events += 1
            sent = {"eventType": "click", "siteId": site, "n": events}
            assert 200 == collect(appliance.url, sent, {"X-Forwarded-For": CLIENT}).status
        appliance.wait_until_drained()
        (seen,) = appliance.rows(SEEN, [site])
        if seen["collectors"] == 2:
            found: list[str] = seen["hashes"]
            return found


@pytest.mark.crash
def test_processes(make_appliance: MakeAppliance) -> None:
    """Both collectors hash alike, one started again too; another run hashes otherwise; no file has the address."""
    settings = {"privacy": {"ip": "hash"}, "server": {"proxies": ["127.0.0.1"]}}
    appliance = make_appliance(settings)
    both = hashes(appliance, "both.example")
    appliance.kill("evothesis: collector 0")
    appliance.pid("evothesis: collector 0")
    again = hashes(appliance, "again.example")
    appliance.stop()
    appliance.start()
    restarted = hashes(appliance, "restarted.example")
    appliance.stop()

    assert [both] == [again]
    assert (1, 1) == (len(both), len(restarted))
    assert both != restarted
    written = [path for path in appliance.folder.rglob("*") if path.is_file()]
    assert {".loaded", ".log"} <= {path.suffix for path in written}
    assert [] == [path for path in written if has_client(path)]


def has_client(path: Path) -> bool:
    """Whether a file has the client's address, as text or as hexadecimal digits."""
    data = path.read_bytes()
    return any(form in data for form in forms(CLIENT))

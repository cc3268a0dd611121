"""Sites: what is told of them from sums is what the ledger and the loads say."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from evothesis import pg
from evothesis.admin.reports import SITES
from evothesis.event import Entry
from tests.appliance import ROOT
from tests.fix_world import DAY, NOW, World, entry, event

MIGRATION = ROOT / "migrations/0012_last_received.sql"
SEGMENTS = 40  # two whole blocks, and some that no block sums up yet

SLOWLY = """
select s.site_id, s.first_seen_at, recent.last_seen_at, coalesce(recent.events, 0) as events,
       coalesce(recent.bots, 0) as bots, coalesce(recent.duplicates, 0) as duplicates,
       coalesce(recent.rejected, 0) as rejected, coalesce(recent.withheld, 0) as withheld
  from sites s
  left join (
    select u.site_id, max(l.last_received_at) as last_seen_at, sum(u.accepted) as events, sum(u.bots) as bots,
           sum(u.duplicate) as duplicates, sum(u.rejected) as rejected, sum(u.withheld) as withheld
      from usage_ledger u join loads l using (writer, segment_no)
     where u.usage_day > (now() at time zone 'UTC')::date - 7
     group by u.site_id
  ) recent using (site_id)
 order by s.site_id
"""


@pytest.mark.parametrize("seed", range(3))
def test_sums(world: World, seed: int) -> None:
    """Of sites that come and go over ten days, old ones among them."""
    chance = random.Random(seed)
    moments = sorted(NOW - chance.random() * 10 * DAY for _ in range(SEGMENTS))
    for number, at in enumerate(moments):
        sites = chance.choices("abcdefgh", k=chance.randint(1, 4))
        events = [event(100 * number + n, site=site) | {"timestamp": at.isoformat()} for n, site in enumerate(sites)]
        world.put(entry(*events, at=at), Entry(at + timedelta(seconds=1), [], [], {"withheld": 1}))
    world.load()

    assert world.rows(SLOWLY) == told(world)


def test_upgrade(world: World) -> None:
    """Sums that an older version has made learn from the loads when their sites were seen."""
    for number in range(20):
        world.put(entry(event(number)))
    world.load()
    before = told(world)
    with pg.connect(world.database, name="test") as connection:
        connection.execute("update usage_sums set last_received_at = null")
        text = MIGRATION.read_text(encoding="utf-8")
        connection.execute(text[text.index("update usage_sums") :].encode())

    assert before == told(world)


def told(world: World) -> list[dict[str, Any]]:
    """What the API's query finds."""
    with pg.connect(world.database, name="test") as connection:
        return connection.execute(SITES, {"after": None, "limit": 1_000}).fetchall()

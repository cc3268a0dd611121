"""The bill: what people, bots and repeated requests send in; the same numbers wherever one looks out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from evothesis import pg
from evothesis.config import Config
from evothesis.usage.close import close
from evothesis.usage.invoice import invoice
from evothesis.usage.meter import Month
from tests.agents import CRAWLER
from tests.appliance import Appliance
from tests.collector.client import collect

SHOP, BLOG = "shop.example", "blog.example"
PEOPLE, BOTS, WITHHELD, UNUSABLE = 640, 70, 5, 3

STORED = """
select site_id, to_char(created_at, 'YYYY-MM') as month, count(*) as rows,
       count(*) filter (where is_bot) as bots, count(*) filter (where not is_bot) as billable
  from events_log group by 1, 2 order by 1, 2
"""


def batch(site: str, numbers: Iterable[int], **members: object) -> dict[str, Any]:
    """Events with these numbers for their ids."""
    events = [{"eventType": "click", "eventId": f"{number:032x}"} | members for number in numbers]
    return {"eventType": "batch", "siteId": site, "events": events}


def test_bill(appliance: Appliance) -> None:
    """Bill, invoice, bucket and database agree to the event, whoever sent what and however often."""
    people = batch(SHOP, range(PEOPLE))
    for document, headers in [
        (people, {}),
        (people, {}),  # its answer was lost
        (batch(BLOG, range(1_000, 1_000 + BOTS)), {"User-Agent": CRAWLER}),
        (batch(BLOG, range(2_000, 2_000 + WITHHELD)), {"DNT": "1"}),
        (batch(SHOP, range(3_000, 3_000 + UNUSABLE), timestamp="yesterday"), {}),
    ]:
        assert 200 == collect(appliance.url, document, headers).status
    appliance.wait_until_drained()
    assert 0 == appliance.export()["pending"]
    month = Month.of(datetime.now(UTC))

    bill = appliance.usage("--month", str(month))
    totals = appliance.json("export", "verify", "--totals", "--destination", "client")["totals"]
    with pg.connect(appliance.dsn, name="test") as connection:
        assert close(connection, Config(instance="acme"), month, now=month.end, actor="test")
        found = invoice(connection, month)

    expected = {
        "events": PEOPLE + BOTS,
        "billable": PEOPLE,
        "bots": BOTS,
        "duplicates": PEOPLE,
        "withheld": WITHHELD,
        "rejected": UNUSABLE,
        "amount": "0.01",
    }
    assert expected == {name: bill[name] for name in expected} == {name: found[name] for name in expected}
    sites = [
        {"site_id": BLOG, "month": str(month), "rows": BOTS, "bots": BOTS, "billable": 0},
        {"site_id": SHOP, "month": str(month), "rows": PEOPLE, "bots": 0, "billable": PEOPLE},
    ]
    invoiced = [
        {"site_id": site["site_id"], "month": site["received"], "rows": site["events"]}
        | {name: site[name] for name in ("bots", "billable")}
        for site in found["sites"]
    ]
    assert sites == totals == appliance.rows(STORED) == invoiced
    assert [{"destination": "client", "first": 1, "last": 1, "complete": True}] == found["manifests"]

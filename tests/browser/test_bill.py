"""The bill of what real pages send: people, a bot, requests that came twice, and somebody who refuses."""

from __future__ import annotations

import json

from playwright.sync_api import Browser

from tests.agents import BROWSER, CRAWLER
from tests.browser.site import Site

PAGES = ("/cups", "/plates")
EVENTS = ("pageview", "click", "custom")  # of each visit to a page

STORED = """
select count(*) as rows, count(*) filter (where is_bot) as bots, count(*) filter (where not is_bot) as billable
  from events_log where site_id = %(site_id)s
"""


def visit(site: Site, browser: Browser, agent: str) -> None:
    """Look at the pages, buy something on each, and be gone when all of it has arrived."""
    before = len(site.seen("custom"))
    context = browser.new_context(user_agent=agent)
    page = context.new_page()
    for path in PAGES:
        page.goto(site.url + path)
        page.click("#buy")
        page.evaluate("evothesis('event', 'bought')")
    site.stored((before + len(PAGES)) * len(EVENTS))
    context.close()


def test_bill(site: Site, browser: Browser) -> None:
    """Bill, bucket and database agree to the event, whoever sent what and however often."""
    site.write_tags(off="engagement vitals dead_click visibility scroll")
    site.tag = site.own_tag
    agents = (BROWSER, BROWSER, CRAWLER)
    for agent in agents:
        visit(site, browser, agent)
    sent = list(site.bodies)  # what the tracker itself sent again, for want of an answer, stands there twice
    events = [event["eventId"] for body in sent for event in json.loads(body)["events"]]
    head = {"Content-Type": "text/plain", "User-Agent": BROWSER}
    for body in sent:
        site.forward("POST", "/collect", head, body)  # as a browser does whose answer was lost
        site.forward("POST", "/collect", head | {"DNT": "1"}, body)
    site.appliance.wait_until_drained()
    assert 0 == site.appliance.export()["pending"]

    [stored] = site.appliance.rows(STORED, {"site_id": site.name})
    [billed] = [line for line in site.appliance.usage()["sites"] if line["site_id"] == site.name]
    totals = site.appliance.json("export", "verify", "--totals", "--destination", "client")["totals"]
    [delivered] = [line for line in totals if line["site_id"] == site.name]

    count = len(agents) * len(PAGES) * len(EVENTS)
    assert count == stored["rows"] == len(set(events))
    assert 0 < stored["bots"] < stored["billable"]  # what a page sends last comes under the browser's own agent
    assert stored == {name: delivered[name] for name in stored}
    assert stored == {"rows": billed["events"], "bots": billed["bots"], "billable": billed["billable"]}
    assert (2 * len(events) - count, len(events)) == (billed["duplicates"], billed["withheld"])

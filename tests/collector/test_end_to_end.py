"""End to end: what goes in at the socket, and what of it lies in the spool, the database and the bucket."""

from __future__ import annotations

import json

from tests.appliance import Appliance
from tests.collector.client import collect

TEXTS = [
    "",
    "plain",
    "ä ñ ß 中文 עברית العربية",
    "😀👩‍👩‍👧‍👦 🇪🇺",
    "e\u0301 is not é",
    "\"double\" 'single' `back` ''",
    "C:\\new\\table \\\\server\\N \\",
    "\\N",
    "\\.",
    "tab\there",
    "line\nline\r\nline\rline\n",
    "control \x01\x02\x1b[31m\x7f",
    "\u2028\u2029\u202e\ufeff\uffff",
    "comma,semicolon;pipe|",
    "=1+1 @here",
    "'; drop table events_log; --",
    "${jndi:ldap://x} {{7*7}} %s %n",
    '{"json": "in text"}',
    "NULL",
]


def test_exactly_as_sent(collector: Appliance, site: str) -> None:
    """Any text that is nobody's address comes back as it was sent: from each column, and from the event as sent."""
    events = [
        {
            "eventType": "t",
            "siteId": site,
            "sessionId": text,
            "visitorId": text,
            "url": text,
            "path": text,
            "data": [text],
        }
        for text in TEXTS
    ]
    answer = collect(collector.url, {"eventType": "batch", "events": events})
    collector.wait_until_drained()

    assert {"accepted": len(TEXTS), "duplicate": 0, "rejected": []} == answer.json
    query = "select session_id, visitor_id, url, path, raw_event_data from events_log where site_id = %s order by idx"
    assert [(*(text,) * 4, event) for text, event in zip(TEXTS, events, strict=True)] == [
        tuple(row.values()) for row in collector.rows(query, [site])
    ]


def test_nul(collector: Appliance, site: str) -> None:
    """NUL, which no column can hold, becomes U+FFFD; the rest stays."""
    event = {"eventType": "t", "siteId": site, "url": "a\0b", "data": {"a\0": ["\0"]}}
    assert 1 == collect(collector.url, event).json["accepted"]
    collector.wait_until_drained()

    rows = collector.rows("select url, raw_event_data from events_log where site_id = %s", [site])
    expected = {"eventType": "t", "siteId": site, "url": "a\ufffdb", "data": {"a\ufffd": ["\ufffd"]}}
    assert [{"url": "a\ufffdb", "raw_event_data": expected}] == rows


def test_numbers(collector: Appliance, site: str) -> None:
    """Numbers of any size are stored as the double or the integer that they are."""
    numbers = ["0", "-0", "1.10", "1e-400", "1e308", "123456789012345678901234567890", "-9223372036854775809", "5e-324"]
    events = ",".join(f'{{"eventType":"t","data":{number}}}' for number in numbers)
    batch = f'{{"eventType":"batch","siteId":"{site}","events":[{events}]}}'
    assert len(numbers) == collect(collector.url, batch.encode()).json["accepted"]
    collector.wait_until_drained()

    query = "select raw_event_data ->> 'data' as number from events_log where site_id = %s order by idx"
    stored = [row["number"] for row in collector.rows(query, [site])]
    assert [json.loads(number) for number in numbers] == [
        type(json.loads(number))(text) for number, text in zip(numbers, stored, strict=True)
    ]

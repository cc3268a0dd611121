"""End to end: what goes in at the socket, and what of it lies in the spool, the database and the bucket."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import polars as pl
import psycopg
from psycopg import sql

from tests.appliance import Appliance
from tests.collector.client import ask, collect

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


class Canaries:
    """Values that must be nowhere, and a marker that stands beside them and must be everywhere."""

    def __init__(self) -> None:
        self.marker = f"marker{secrets.token_hex(8)}"
        self.secret = f"secret{secrets.token_hex(8)}"
        self.email = f"{secrets.token_hex(6)}.jane@{secrets.token_hex(4)}.example.com"
        self.card = "4929 1318 0226 4575"

    def found_in(self, data: bytes) -> set[str]:
        """What of them is in some bytes."""
        values = {self.secret, self.email, quote(self.email), self.card, self.card.replace(" ", "")}
        return {value for value in values if value.encode() in data}

    def send(self, appliance: Appliance, site: str) -> None:
        """Put them wherever a sender can put something."""
        text = f"{self.marker} {self.email} and {self.card.replace(' ', '')}, or {self.card}"
        url = f"https://{site}/{self.marker}/{quote(self.email)}?token={self.secret}&a=1#access_token={self.secret}"
        event = {"url": url, "path": f"/{self.email}", "sessionId": self.email, "visitorId": self.card, "data": [text]}
        batch = {
            "eventType": "batch",
            "siteId": site,
            "more": {"deep": [{"text": text, "referrer": url}]},
            "events": [
                {"eventType": "click", **event, self.email: text},
                {"eventType": self.email, "n": 1},
                {"eventType": "click", "timestamp": text, **event},
                {"eventType": "click", "eventId": self.email, "data": text},
                {"eventType": "click", "data": text + " " + "x" * 33_000},
                text,
            ],
        }
        headers = {"User-Agent": f"{self.marker} (+{self.email})", "Referer": url}
        answer = collect(appliance.url, batch, headers)
        assert (2, 4) == (answer.json["accepted"], len(answer.json["rejected"]))
        escaped = (
            json.dumps({"eventType": "t", "siteId": site, "data": text}).replace("4", "\\u0034").replace("@", "\\u0040")
        )
        assert 200 == collect(appliance.url, escaped.encode(), headers).status
        assert 200 == collect(appliance.url, {"eventType": "t", "siteId": self.email}, headers | {"DNT": "1"}).status
        assert (
            200
            == ask(appliance.url, "GET", f"/pixel.gif?site={site}&url={quote(url, safe='')}", headers=headers).status
        )


def spool_files(appliance: Appliance) -> Iterator[Path]:
    """Every file in the spool."""
    return (path for path in appliance.spool.rglob("*") if path.is_file())


def tables(appliance: Appliance) -> bytes:
    """Every row of every table, as text."""
    with psycopg.connect(appliance.dsn) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        query = sql.SQL("select coalesce(string_agg(t::text, chr(10)), '') from {} t")
        rows = [connection.execute(query.format(sql.Identifier(name))).fetchone() for (name,) in names]
    return "\n".join(row[0] for row in rows if row).encode()


def bucket(appliance: Appliance) -> bytes:
    """Every object in the bucket: Parquet as rows of text, all others as they are."""
    objects = [path for path in appliance.bucket.rglob("*") if path.is_file()]
    frames = [pl.read_parquet(path) for path in objects if path.suffix == ".parquet"]
    rows = [str(row) for frame in frames for row in frame.iter_rows()]
    return "\n".join(rows).encode() + b"".join(path.read_bytes() for path in objects if path.suffix != ".parquet")


def test_nothing_personal_is_kept(collector: Appliance, site: str) -> None:
    """No address, card or token is in a file of the spool, a table, an object of the bucket or the log."""
    canaries = Canaries()
    canaries.send(collector, site)
    in_spool = b"".join(path.read_bytes() for path in spool_files(collector))
    collector.wait_until_drained()
    collector.export()
    places = {
        "spool": in_spool,
        "spool, later": b"".join(path.read_bytes() for path in spool_files(collector)),
        "database": tables(collector),
        "bucket": bucket(collector),
        "log": collector.output_path.read_bytes(),
    }

    assert {name: set() for name in places} == {name: canaries.found_in(data) for name, data in places.items()}
    assert [True, True, True, False] == [
        canaries.marker.encode() in places[name] for name in ("spool", "database", "bucket", "log")
    ]

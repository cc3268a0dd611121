"""Privacy: texts and addresses in, what may be kept of them out."""

from __future__ import annotations

import ipaddress
import json
from typing import Literal

import pytest

from evothesis.collector.intake import take
from evothesis.collector.policy import Policy
from evothesis.config import Privacy
from evothesis.event import Json, encode_entry
from tests.collector.copy_text import SALT, columns, request, stored

CLICK = {"eventType": "click", "siteId": "s"}


def kept(value: Json, *, ensure_ascii: bool = True) -> Json:
    """What is stored of a value that was sent within an event."""
    document = {"eventType": "click", "siteId": "s", "data": value}
    (row,) = stored(json.dumps(document, ensure_ascii=ensure_ascii).encode())
    return row["raw_event_data"]["data"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param("jane@example.com", "[redacted]", id="e-mail"),
        pytest.param("from jane.doe+tag@mail.example.co.uk, now", "from [redacted], now", id="e-mail in a text"),
        pytest.param("mailto:o'neil@example.com?subject=x", "mailto:[redacted]?subject=x", id="mailto"),
        pytest.param("/confirm/jane%40example.com/now", "/confirm/[redacted]/now", id="e-mail, encoded"),
        pytest.param("4111111111111111", "[redacted]", id="Visa"),
        pytest.param("paid with 4111 1111 1111 1111 today", "paid with [redacted] today", id="Visa in groups"),
        pytest.param("5555-5555-5555-4444", "[redacted]", id="Mastercard with hyphens"),
        pytest.param("2223003122003222", "[redacted]", id="Mastercard of the 2 series"),
        pytest.param("378282246310005", "[redacted]", id="American Express"),
        pytest.param("6011111111111117", "[redacted]", id="Discover"),
        pytest.param("3530111333300000", "[redacted]", id="JCB"),
        pytest.param("30569309025904", "[redacted]", id="Diners Club"),
        pytest.param("/a?token=abc123&b=1", "/a?token=[redacted]&b=1", id="token"),
        pytest.param("/a?b=1&access_token=abc#x", "/a?b=1&access_token=[redacted]#x", id="part of a name"),
        pytest.param("/a#id_token=abc&b=1", "/a#id_token=[redacted]&b=1", id="fragment"),
        pytest.param("/a?Email=jane&Password=x", "/a?Email=[redacted]&Password=[redacted]", id="any case"),
        pytest.param("/a;jsessionid=2&b=1", "/a;jsessionid=[redacted]&b=1", id="path parameter"),
    ],
)
def test_redacted(sent: str, expected: str) -> None:
    """Addresses, cards and the values of telling parameters are replaced, and the text around them stays."""
    assert expected == kept(sent)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0193f5d0-7e1c-7a4b-9a53-0123456789ab", id="UUID"),
        pytest.param("41111111-1111-1111-1111-111111111111", id="UUID that looks like a card"),
        pytest.param("1795338000123", id="milliseconds"),
        pytest.param("2026-11-22T09:00:00.123Z", id="time"),
        pytest.param("4111111111111112", id="wrong check digit"),
        pytest.param("1234567812345670", id="no issuer"),
        pytest.param("4006381333931", id="EAN with a card's prefix and a wrong check digit"),
        pytest.param("ORDER-2026-000123456789", id="order number"),
        pytest.param("SKU 4711-0815", id="product code"),
        pytest.param("1,234.56 EUR", id="price"),
        pytest.param("52.520008, 13.404954", id="position"),
        pytest.param("user@localhost", id="no domain"),
        pytest.param("follow @evothesis", id="handle"),
        pytest.param("3 @ 4.50", id="at"),
        pytest.param("/a?utm_source=x&gclid=Cj0KCQ&page=2", id="campaign"),
        pytest.param("the token is = x", id="no parameter"),
        pytest.param("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0", id="user agent"),
    ],
)
def test_kept(text: str) -> None:
    """Ids, times, prices and product codes come out as they went in."""
    assert text == kept(text)


def test_redacted_everywhere() -> None:
    """Texts are cleaned at any depth, names of members too; numbers and what stands beside them stay."""
    sent = {"a": ["jane@example.com", {"jane@example.com": "4111 1111 1111 1111"}], "n": 4_111.5, "ok": True, "z": None}

    assert {"a": ["[redacted]", {"[redacted]": "[redacted]"}], "n": 4_111.5, "ok": True, "z": None} == kept(sent)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"eventType":"click","siteId":"s","data":"jane\u0040example.com"}',
        rb'{"eventType":"click","siteId":"s","data":"\u006aane@example.com"}',
        rb'{"eventType":"click","siteId":"s","data":"jane@\u0065xample.com"}',
        rb'{"eventType":"click","siteId":"s","data":"\u0034111111111111111"}',
    ],
)
def test_redacted_behind_escapes(body: bytes) -> None:
    """What is written with JSON's escapes is cleaned as if it were not."""
    (row,) = stored(body)

    assert "[redacted]" == row["raw_event_data"]["data"]


@pytest.mark.parametrize(
    ("member", "column"),
    [
        ("eventType", "event_type"),
        ("siteId", "site_id"),
        ("sessionId", "session_id"),
        ("visitorId", "visitor_id"),
        ("url", "url"),
        ("path", "path"),
    ],
)
def test_columns_are_redacted(member: str, column: str) -> None:
    """The columns that a sender fills are cleaned as their copy in the event is."""
    document = {"eventType": "click", "siteId": "s", member: "/a/jane@example.com"}
    (row,) = stored(document)

    assert "/a/[redacted]" == row[column] == row["raw_event_data"][member]


def test_withheld_site_is_redacted() -> None:
    """A count of withheld events is kept without identity, also where a site's name would be one."""
    entry, _ = take(request({"eventType": "click", "siteId": "jane@example.com"}, refuses=True), Policy(), salt=SALT)

    assert {"[redacted]": 1} == entry.withheld


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    "page", ["https://jane%40mail.example/", "https://378282246310005/", "https://a/@jane@mail.example"]
)
def test_site_of_the_headers_is_redacted(page: str, *, refuses: bool) -> None:
    """A site that only the headers name is cleaned as one that an event names, stored or withheld."""
    events = [{"eventType": "click"}, {"eventType": "click", "timestamp": "now"}]
    entry, _ = take(request({"eventType": "batch", "events": events}, page=page, refuses=refuses), Policy(), salt=SALT)
    written = encode_entry(entry)

    assert [] == [secret for secret in (b"jane", b"378282246310005") if secret in written]


def test_user_agent_is_redacted() -> None:
    """A user agent that names its owner does so no more."""
    (row,) = stored({"eventType": "click", "siteId": "s"}, user_agent="bot (by jane@example.com)")

    assert "bot (by [redacted])" == row["user_agent"]


def test_batch_is_redacted() -> None:
    """What a batch says for its events is cleaned as if they said it."""
    batch = {"eventType": "batch", "siteId": "s", "sessionId": "jane@example.com", "url": "/a?token=b"}
    (row,) = stored(batch | {"events": [{"eventType": "click"}]})

    assert ("[redacted]", "/a?token=[redacted]") == (row["session_id"], row["url"])


def test_card_as_a_number() -> None:
    """A card is one also where JSON has it as a number; other numbers stay numbers."""
    numbers = [4_111_111_111_111_111, 4_111_111_111_111_111.0, 4_111_111_111_111_112, 1_795_338_000_123]

    assert ["[redacted]", "[redacted]", *numbers[2:]] == kept(numbers)


def test_names_that_become_the_same() -> None:
    """Members whose names are redacted stay members of their own."""
    sent = {"jane@example.com": 1, "[redacted]": 2, "joe@example.com": 3}

    assert {"[redacted]#2": 1, "[redacted]": 2, "[redacted]#3": 3} == kept(sent)


@pytest.mark.parametrize("name", ["password", "accessToken", "user_email", "first-name", "Phone", "billingAddress"])
def test_telling_members(name: str) -> None:
    """Of a member whose name says so no value stays; what is no value does, and so does its shape."""
    sent = {name: ["x", 7, {"a": "y", "b": True}, None, ""], "other": "x"}

    assert {name: ["[redacted]", "[redacted]", {"a": "[redacted]", "b": True}, None, ""], "other": "x"} == kept(sent)


@pytest.mark.parametrize("name", ["sessionId", "author", "className", "iphone", "emailCampaign", "tokens", "card"])
def test_other_members(name: str) -> None:
    """A name that only resembles such a one says nothing."""
    assert {name: "x"} == kept({name: "x"})


def test_identifiers() -> None:
    """Digits of an id are no telephone's; a card in its place is still a card."""
    sent = {"order_id": "415-555-2671", "note": "415-555-2671", "orderNumber": "4111111111111111"}

    assert {"order_id": "415-555-2671", "note": "[redacted]", "orderNumber": "[redacted]"} == kept(sent)


def test_configured_names() -> None:
    """The operator's own names are redacted or kept, in any case and with any separators, of members and parameters."""
    settings = Privacy(fields_redacted=("loyaltyNumber", "Straße"), fields_kept=("voucher", "token"))
    sent = {"loyalty_number": 12, "STRASSE": 1, "straße": "x", "voucher": "4111111111111111", "Token": "abc"}
    url = "/?LoyaltyNumber=12&token=abc&email=x"
    (row,) = stored({"eventType": "click", "siteId": "s", "url": url, "data": sent}, settings)

    assert "/?LoyaltyNumber=[redacted]&token=abc&email=[redacted]" == row["url"]
    expected = sent | {"loyalty_number": "[redacted]", "straße": "[redacted]"}
    assert expected == row["raw_event_data"]["data"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("truncate", "by 203.0.113.0"), ("hash", "by [redacted]"), ("none", "by [redacted]"), ("full", "by 203.0.113.77")],
)
def test_addresses_in_texts(mode: Literal["truncate", "hash", "none", "full"], expected: str) -> None:
    """An address in a text is kept no better than the client's."""
    event = {"eventType": "click", "siteId": "s", "data": "by 203.0.113.77"}
    (row,) = stored(event, Privacy(ip=mode))

    assert expected == row["raw_event_data"]["data"]


def test_user_agent_is_redacted_before_it_is_cut() -> None:
    """Half an e-mail address at the end of a long user agent would not be found."""
    (row,) = stored({"eventType": "click", "siteId": "s"}, user_agent="x" * 1_010 + " jane@example.com")

    assert "x" * 1_010 + " [redacted]" == row["user_agent"]


@pytest.mark.parametrize(
    ("peer", "truncated", "full"),
    [
        ("192.0.2.123", "192.0.2.0", "192.0.2.123"),
        ("::ffff:192.0.2.123", "192.0.2.0", "192.0.2.123"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::", "2001:db8:1:2:3:4:5:6"),
        ("fe80::1%eth0", "fe80::", "fe80::1"),
        ("::1", "::", "::1"),
        *((text, None, None) for text in ("", "unknown", "_hidden", "192.0.2.1:80", "[::1]:80", "192.0.2.0/24")),
        *((text, None, None) for text in ("010.1.1.1", "127.1", "0x7f.1", "2130706433", "192.0.2.256", "x" * 9_000)),
        (None, None, None),
    ],
)
def test_address(peer: str | None, truncated: str | None, full: str | None) -> None:
    """An address is kept truncated, or in full, or not at all, and what is none is never kept."""
    kept_as = [stored(CLICK, Privacy(ip=mode), peer=peer)[0]["ip_address"] for mode in ("truncate", "full", "none")]

    assert [truncated, full, None] == kept_as


def hashed(peer: str, salt: bytes = SALT) -> str | None:
    """An address as [privacy] ip = "hash" keeps it."""
    (row,) = take(request(CLICK, peer=peer), Policy(Privacy(ip="hash")), salt=salt).entry.rows
    address = columns(row.line)["ip_address"]
    assert address is None or isinstance(address, str)
    return address


def test_hashed_address() -> None:
    """A hash is the same for one client and salt; another client or salt gives another one."""
    one = hashed("192.0.2.123")

    assert one == hashed("192.0.2.123") == hashed("::ffff:192.0.2.123")
    others = [
        hashed("192.0.2.124"),
        hashed("192.0.2.123", salt=b"another salt of sixteen"),
        hashed("2001:db8::1"),
    ]
    assert 4 == len({one, *others})


def test_hashed_address_is_an_address() -> None:
    """A hash is an address that PostgreSQL's inet takes and that is nobody's: RFC 4193."""
    assert ipaddress.ip_address(hashed("192.0.2.123") or "") in ipaddress.ip_network("fd00::/8")
    assert None is hashed("unknown")

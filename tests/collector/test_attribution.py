"""Attribution: addresses of pages in; the campaign that they name, and the kind of click that led there, out."""

from __future__ import annotations

from typing import Any

import pytest

from evothesis.config import Enrichment, Privacy
from tests.collector.copy_text import Row, stored

COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id", "click_id_type")
CLICK_IDS = (
    *("gclid", "gbraid", "wbraid", "dclid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "rdt_cid", "sccid"),
    *("epik", "yclid", "qclid", "tblci", "dicbo", "irclickid", "cjevent", "awc"),
)
PAGE = "https://shop.example/a"


def told(url: str | None, **settings: Any) -> Row:  # noqa: ANN401 - of Enrichment
    """The columns of an event at that address that are not NULL."""
    (row,) = stored({"eventType": "click", "siteId": "s", "url": url}, enrichment=Enrichment(**settings))
    return {name: row[name] for name in COLUMNS if row[name] is not None}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, {}),
        ("", {}),
        (PAGE, {}),
        (f"{PAGE}?a=b&utm=1&autm_source=x&utm_sources=x", {}),
        (f"{PAGE}?utm_source=letter", {"utm_source": "letter"}),
        (
            f"{PAGE}?utm_source=a&utm_medium=b&utm_campaign=c&utm_term=d&utm_content=e&utm_id=f&gclid=g",
            dict(zip(COLUMNS, [*"abcdef", "gclid"], strict=True)),
        ),
        (f"{PAGE}?utm_source=a&utm_source=b", {"utm_source": "a"}),
        (f"{PAGE}?utm_source=&utm_source=b", {"utm_source": "b"}),
        (f"{PAGE}?utm_source=", {}),
        (f"{PAGE}?utm_source=+&gclid=", {}),
        (f"{PAGE}?UTM_Source=Letter&GCLID=x", {"utm_source": "Letter", "click_id_type": "gclid"}),
        (f"{PAGE}?utm_term=waxed+cotton%20jacket", {"utm_term": "waxed cotton jacket"}),
        (f"{PAGE}?utm_term=caf%C3%A9%20%F0%9F%98%80", {"utm_term": "café 😀"}),
        (f"{PAGE}?utm_term=caf\u00e9", {"utm_term": "café"}),
        (f"{PAGE}?utm_term=%ff%", {"utm_term": "\ufffd%"}),
        (f"{PAGE}?utm_term=a%00b%09c%0Ad%5C", {"utm_term": "a\ufffdb\tc\nd\\"}),
        (f"{PAGE}?utm_term=%5CN", {"utm_term": "\\N"}),
        (f"{PAGE}?a=b&amp;utm_source=x&amp;utm_medium=y", {"utm_source": "x", "utm_medium": "y"}),
        (f"{PAGE}#utm_source=x", {"utm_source": "x"}),
        (f"{PAGE}#!/route?utm_source=x", {"utm_source": "x"}),
        (f"{PAGE}?utm_source=x#top", {"utm_source": "x"}),
        ("/a?utm_source=x", {"utm_source": "x"}),
        ("not an address ?utm_source=x", {"utm_source": "x"}),
        ("https://[::1?utm_source=x", {"utm_source": "x"}),
        (f"{PAGE}?fbclid=a&gclid=b", {"click_id_type": "fbclid"}),
        (f"{PAGE}?{'&' * 8_000}utm_source=x", {"utm_source": "x"}),
    ],
)
def test_address(url: str | None, expected: Row) -> None:
    """What an address says is decoded; of two the first one that says something counts; the rest is NULL."""
    assert expected == told(url)


@pytest.mark.parametrize("name", CLICK_IDS)
def test_click_id(name: str) -> None:
    """Of the id of a click its kind is kept in the column, and not its value."""
    assert {"click_id_type": name} == told(f"{PAGE}?a=1&{name}=Cj0KCQiA-abc_DEF")


def test_length() -> None:
    """A value is cut at 250 characters, counted when it is decoded."""
    assert {"utm_term": "é" * 250} == told(f"{PAGE}?utm_term={'%C3%A9' * 300}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{PAGE}?utm_content=jane@example.com", {"utm_content": "[redacted]"}),
        (f"{PAGE}?utm_content=jane%2540example.com", {"utm_content": "[redacted]"}),
        (f"{PAGE}?utm_content={'x' * 240}+jane%40example.com&utm_id=4111111111111111", {"utm_id": "[redacted]"}),
        (f"{PAGE}?utm_term=call+0171+234567", {"utm_term": "call[redacted]"}),
    ],
)
def test_redacted(url: str, expected: Row) -> None:
    """What is personal in an address is in no column that is made of it."""
    found = told(url)

    assert expected == {name: found[name] for name in expected}
    assert "jane" not in str(found)


def test_redacted_when_decoded() -> None:
    """Also where an operator keeps addresses as they are, a value that is taken out is looked at."""
    event = {"eventType": "click", "siteId": "s", "url": f"{PAGE}?utm_term=jane%40example.com"}
    (row,) = stored(event, Privacy(fields_kept=("url",)))

    assert "[redacted]" == row["utm_term"]


def test_switched_off() -> None:
    """Where it is switched off no address is looked into."""
    assert {} == told(f"{PAGE}?utm_source=letter&gclid=x", attribution=False)

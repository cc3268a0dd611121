"""Selection, by itself: what can be configured, and which sites a pattern names."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from evothesis.collector.allowed import Allowed
from evothesis.config import Destination
from evothesis.errors import ConfigurationError
from evothesis.exporter.selection import Selection

SITES = ["", "shop.example", "a.shop.example", "b.a.shop.example", "xshop.example", "A.shop.example", ".shop.example"]
SITES += ["a.shop.example\n", "a.shop_example", "shop.example.org", "ä.shop.example", "other"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"columns": ["site_id", "colour"]}, "columns names 'colour', which is no column"),
        ({"columns_renamed": {"colour": "color"}}, "columns_renamed names 'colour', which is no column"),
        ({"columns": ["site_id"], "columns_except": ["url"]}, "columns and columns_except are both set"),
        ({"columns": ["url"]}, "site_id is left out"),
        ({"columns_except": ["site_id"]}, "site_id is left out"),
        ({"columns": ["site_id", "site_id"]}, "two columns are called 'site_id'"),
        ({"columns_renamed": {"url": "path"}}, "two columns are called 'path'"),
        ({"columns_except": ["url"], "columns_renamed": {"url": "u"}}, "columns_renamed names 'url', which is not"),
        ({"columns_except": ["url"], "columns_hashed": ["url"]}, "columns_hashed names 'url', which is not delivered"),
        ({"columns_hashed": ["site_id"]}, "site_id cannot be hashed"),
        ({"columns_hashed": ["idx"]}, "idx cannot be hashed"),
        ({"columns_hashed": ["raw_event_data"]}, "raw_event_data cannot be hashed"),
        ({"columns_hashed": ["visitor_id"]}, "visitor_id is hashed, and stands in raw_event_data in clear"),
    ],
)
def test_impossible(settings: dict[str, Any], reason: str) -> None:
    """What cannot be delivered is said with the destination, the setting and the column."""
    with pytest.raises(ConfigurationError) as caught:
        Selection.of(Destination(name="x", **settings))

    assert str(caught.value).startswith(f"export.destination 'x': {reason}")
    assert caught.value.hint


@pytest.mark.parametrize(
    "names", [["shop.example"], ["*.shop.example"], ["other", "*.example"], ["*.shop.example", "shop.example", ""]]
)
def test_patterns(names: list[str]) -> None:
    """A pattern names the sites that it names in limits.sites; what is left out is all the rest."""
    frame = pl.DataFrame({"site_id": SITES, "event_type": "t"})
    of, but = Selection(sites=tuple(names)), Selection(sites_except=tuple(names))

    assert [site for site in SITES if Allowed(names).has(site)] == of.rows_of(frame)["site_id"].to_list()
    assert [site for site in SITES if not Allowed(names).has(site)] == but.rows_of(frame)["site_id"].to_list()


def test_everything() -> None:
    """A destination that says nothing has a selection that says nothing, and every column."""
    everything = Selection.of(Destination())

    assert {} == everything.document
    assert everything.chosen(2) == everything.delivered(2)
    assert (16, 32) == (len(everything.chosen(1)), len(everything.chosen(2)))

"""Tally: what became of a segment's events, by site. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import ClassVar

from evothesis.event import type_of
from evothesis.loader.content import Content
from evothesis.loader.dedup import Verdict

SITE_UNKNOWN = "(unknown)"  # of refused events that name no site, or none of ours


class Tally:
    """The usage of one site in one segment; `bots`, `bytes` (as JSON) and `types` are of accepted events."""

    FIELDS: ClassVar = ("accepted", "duplicate", "rejected", "withheld", "bots", "bytes")

    def __init__(self) -> None:
        """Nothing was counted yet."""
        self.accepted = self.duplicate = self.rejected = self.withheld = self.bots = self.bytes = 0
        self.types: defaultdict[str, int] = defaultdict(int)


def tally(content: Content, verdict: Verdict, refused: frozenset[int]) -> dict[str, Tally]:
    """Every event of a segment is counted once. `refused` are rows that the database could not hold."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for idx, row in content.rows:
        part = tallies[row.site_id]
        if idx in refused:
            part.rejected += 1
        elif idx in verdict.fresh or idx in verdict.reused:
            part.accepted += 1
            part.bots += row.is_bot
            part.bytes += row.size_bytes
            part.types[row.event_type or type_of(row.line)] += 1
        else:
            part.duplicate += 1
    for _, rejected in content.rejected:
        tallies[rejected.site_id or SITE_UNKNOWN].rejected += 1
    if content.unlisted:
        tallies[SITE_UNKNOWN].rejected += content.unlisted
    for site, events in content.withheld.items():
        tallies[site].withheld += events
    return tallies

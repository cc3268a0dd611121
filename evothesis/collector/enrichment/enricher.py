"""Enricher: a request's sender and an event's addresses in, their columns in COPY text out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from evothesis.collector import privacy
from evothesis.collector.enrichment import attribution
from evothesis.collector.enrichment.agents import UNKNOWN, agents
from evothesis.collector.enrichment.bots import bots
from evothesis.collector.enrichment.countries import Countries
from evothesis.collector.enrichment.referrers import NOTHING, referrers
from evothesis.config import Enrichment, Privacy
from evothesis.event import FALSE, TRUE, Event, copy_text

CACHED_MAX = 4_096  # agents, addresses and pages come back with every request of a visit
CACHED_LENGTH_MAX = 512  # what strangers make longer must not fill the memory


class Sender(NamedTuple):
    """What is known of who sent a request."""

    is_bot: bool
    columns: bytes  # from is_bot to country


_ORIGIN = re.compile(r"(?i:https?)://[^/?#]+")  # a few of them have all pages of a site
_NO_REFERRER = copy_text(NOTHING)
_NO_ATTRIBUTION = copy_text(attribution.NOTHING)


class Enricher:
    """What [enrichment] says, ready for use."""

    def __init__(self, settings: Enrichment, kept: Privacy) -> None:
        """Load what is asked for. Raises ConfigurationError when the database of countries cannot be read."""
        self._bots = bots() if settings.bots else None
        self._agents = agents() if settings.user_agent else None
        self._referrers = referrers() if settings.referrer else None
        self._countries = Countries(settings.country_database) if settings.country else None
        self._has_attribution = settings.attribution
        self._clean = privacy.rules(kept).cleaned_text
        self._remembered_agent = lru_cache(CACHED_MAX)(self._agent)
        self._remembered_country = lru_cache(CACHED_MAX)(self._country)
        self._remembered_attribution = lru_cache(CACHED_MAX)(self._attribution)
        self._remembered_referrer = lru_cache(CACHED_MAX)(self._referrer)

    def sender(self, said: str | None, agent: str | None, peer: str | None) -> Sender:
        """The sender's columns.

        `said` is the user agent as it was sent, in which many bots give an e-mail address by which they are known;
        `agent` is what may be kept of it, `peer` the whole address. None of the two is known of who refuses.
        """
        is_short = said is None or len(said) <= CACHED_LENGTH_MAX
        is_bot, columns = (self._remembered_agent if is_short else self._agent)(said, agent)
        return Sender(is_bot, b"%b\t%b" % (columns, self._remembered_country(peer)))

    def columns(self, sender: Sender, event: Event) -> bytes:
        """All columns of an event: its sender's, and its own from referrer_type to click_id_type."""
        url = event.url or ""
        referrer, attributed = _NO_REFERRER, _NO_ATTRIBUTION
        if "=" in url:
            is_short = len(url) <= CACHED_LENGTH_MAX
            attributed = (self._remembered_attribution if is_short else self._attribution)(url)
        if event.referrer is not None:
            # a host stands at the beginning
            origin = _ORIGIN.match(url, 0, CACHED_LENGTH_MAX)
            page = origin[0] if origin else event.site_id
            referrer = self._remembered_referrer(event.referrer[:CACHED_LENGTH_MAX], page)
        return b"%b\t%b\t%b" % (sender.columns, referrer, attributed)

    def _agent(self, said: str | None, agent: str | None) -> tuple[bool, bytes]:
        reason = self._bots.reason(said) if self._bots else None
        is_bot = reason is not None
        told = self._agents.describe(agent, is_bot=is_bot) if self._agents and agent else UNKNOWN
        return is_bot, copy_text((TRUE if is_bot else FALSE, reason, *told))

    def _country(self, peer: str | None) -> bytes:
        return copy_text((self._countries.code(peer) if self._countries and peer else None,))

    def _attribution(self, url: str) -> bytes:
        return copy_text(attribution.told(url, self._clean) if self._has_attribution else attribution.NOTHING)

    def _referrer(self, referrer: str, page: str) -> bytes:
        return copy_text(self._referrers.classify(referrer, page) if self._referrers else NOTHING)


enricher = lru_cache(Enricher)

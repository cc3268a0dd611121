"""Policy: what is configured in, what requests are judged by out."""

from __future__ import annotations

from collections.abc import Sequence

from evothesis.collector import privacy
from evothesis.collector.allowed import Allowed
from evothesis.collector.enrichment import enricher
from evothesis.config import Enrichment, Privacy


class Policy:
    """[privacy], [enrichment] and the list of sites, ready for use."""

    def __init__(
        self, settings: Privacy | None = None, enrichment: Enrichment | None = None, sites: Sequence[str] = ()
    ) -> None:
        """Takes a third of a second. Raises ConfigurationError when the database of countries cannot be read."""
        self.privacy = settings or Privacy()
        self.rules = privacy.rules(self.privacy)
        self.enricher = enricher(enrichment or Enrichment(), self.privacy)
        self.sites = Allowed(sites)

"""Enrichment: what an event and its request say in, columns that say what it means out. Offline, and pure.

Each part knows one question and is asked once for each value: answers are remembered, so many at most. What cannot be
understood has no answer, and NULL in its columns.
"""

from evothesis.collector.enrichment.enricher import Enricher, enricher

__all__ = ["Enricher", "enricher"]

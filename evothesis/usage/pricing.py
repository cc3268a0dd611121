"""Pricing: numbers of events in, money out. Pure, in Decimal."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
THOUSAND = Decimal(1000)


def amount(events: int, rate_per_thousand: Decimal) -> Decimal:
    """What events cost, to the cent; half a cent is rounded up, once, here."""
    return (events * rate_per_thousand / THOUSAND).quantize(CENT, ROUND_HALF_UP)

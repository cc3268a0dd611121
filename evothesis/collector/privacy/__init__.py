"""Privacy: an event in, the event with less in it out. Pure, and linear in the size of its input.

Runs before the first byte is written. `rules` says what may be kept of a JSON value, `address` what may be kept of the
client's address. A rule has a `SIGHT`: what JSON text must have for the rule to apply. All of them together are one
pattern, so that an event in which there is nothing to clean is looked at once and never taken apart.
"""

from evothesis.collector.privacy.addresses import address
from evothesis.collector.privacy.day_key import DayKey
from evothesis.collector.privacy.rules import Rules, rules

__all__ = ["DayKey", "Rules", "address", "rules"]

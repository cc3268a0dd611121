"""Upkeep: what an operator does beside running it: set up, look after, back up, restore."""

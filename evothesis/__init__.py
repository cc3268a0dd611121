"""Evothesis: web behaviour data in, raw files in the client's own bucket out."""

__version__ = "0.1.0"

"""Peers: other ways to build the same collector, tuned honestly, for a ratio on the same machine."""

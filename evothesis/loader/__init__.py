"""Loader: sealed segments in, committed rows out.

`run` finds what waits and survives what fails; `load` stores one segment in one transaction; `dedup` tells which of its
events are new. Client input is never parsed again: rows are streamed as the collector formatted them.
"""

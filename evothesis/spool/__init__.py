"""Spool: accepted frames in, sealed segment files out.

    <spool>/1802744773/000000000012.open      being written by the one process that holds `lock`
    <spool>/1802744773/000000000011.sealed    complete, waits for the loader
    <spool>/1802744773/lock

A folder's name is its writer's number. A segment is a row of frames (`frame`), written by `writer`, listed and
acknowledged by `segments`. Segment numbers are consecutive and never used twice, so that (writer, segment number)
names the same bytes for ever.
"""

"""Exporter: committed loads in, objects and a chain of manifests out.

The steps, in their order: `plan` cuts new loads into chunks, durably; `render` makes the files of a chunk; `store`
creates objects and looks at them; `publish` lists them in a manifest, signed and chained; `retain` drops what is old
and everywhere. `run` calls them, `ledger` remembers. Every step may be repeated after a crash: names are a function of
the plan, recorded hashes are the truth, and nothing is deleted or planned again after an answer that was lost.
"""

import os

# Memory that polars gives back stays at hand until the kernel wants it; else a megabyte of rows costs 300 page faults,
# an eighth of the CPU of an export. In one arena, or each thread keeps its own. Read when polars is imported.
os.environ.setdefault("_RJEM_MALLOC_CONF", "narenas:1,muzzy_decay_ms:-1")

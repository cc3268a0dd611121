"""Exporter: committed loads in, objects and a chain of manifests out.

The steps, in their order: `plan` cuts new loads into chunks, durably; `read` and `encode` render a chunk to a file;
`deliver` creates the object and reads it back; `manifest` lists it, signed and chained. `run` calls them, `ledger`
remembers. Every step may be repeated after a crash: names are a function of the plan, recorded hashes are the truth,
and nothing is deleted or planned again after an answer that was lost.
"""

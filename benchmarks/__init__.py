"""Benchmarks: what the appliance does on one machine, beside the limit of its database and beside its predecessor.

Each module that measures is a program: `python -m benchmarks.throughput --help`. What they found: docs/benchmarks.md.
"""

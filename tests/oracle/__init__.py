"""Oracle: the judge from outside, a process of its own that knows the system only as a sender on the network does.

    events ──▶ sender ──▶ the system
                 └──────▶ journal ──▶ tests/invariants.py

It makes events from a seed, writes down what it is about to send, sends it until somebody answers, and writes down the
answers. Only a 2xx turns an event into an obligation. `python -m tests.oracle --help` tells how to steer it.
"""

"""Collector: requests in, durable frames out; no database, no secrets.

The steps, in their order: `http` reads a request, `limits` may refuse it, `intake` turns it into what is kept and what
is answered (`decode`, `parse`, `privacy`), `commit` makes it durable, `http` answers.
"""

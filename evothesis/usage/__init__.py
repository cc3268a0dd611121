"""Usage: the ledger in, events and money out. Nothing but `loss` and `check` reads events, and nothing renders."""

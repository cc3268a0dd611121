"""Usage: the ledger in, events and money out. Nothing here scans events, and nothing here renders."""

"""Usage: the ledger in, events and money out. Nothing that bills scans events, and nothing here renders."""

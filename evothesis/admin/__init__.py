"""Admin: the operator's listener. It reads what the stages left; the one thing that it starts is an export."""

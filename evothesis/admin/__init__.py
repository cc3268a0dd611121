"""Admin: the operator's listener. It only reads what the other stages left."""

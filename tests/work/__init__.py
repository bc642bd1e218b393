"""How much work a message and a session are, counted and not timed: the same on every machine."""

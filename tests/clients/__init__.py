"""Clients that others wrote, against a real server: what people will connect with has to work."""

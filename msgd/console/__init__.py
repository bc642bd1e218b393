"""The operator console and its one registry of commands."""

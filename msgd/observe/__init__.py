"""Content-free logs, counters and alarms."""

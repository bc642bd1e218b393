"""Programs that measure a server. README.md says which; they are no part of what is installed."""

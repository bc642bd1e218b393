"""Bytes to stanzas and back: TLS, XML framing, addresses, errors."""

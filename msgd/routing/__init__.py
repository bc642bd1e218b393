"""Where a stanza goes: sessions, the routing table, roster and presence (RFC 6121)."""

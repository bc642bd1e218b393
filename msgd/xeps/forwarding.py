"""A message within another: XEP-0297 Stanza Forwarding, as archives and copies use it."""

from __future__ import annotations

import re
from typing import Final

from msgd.wire.xml import CLIENT_NAMESPACE, parse, serialise

#: A start tag that binds its default namespace itself.
_BOUND: Final = re.compile(rb"""<message(?:\s+[^\s=>"']+\s*=\s*(?:"[^"]*"|'[^']*'))*?\s+xmlns\s*=""")


def forwarded(raw: bytes, stamp: str = "") -> bytes:
    """`<forwarded/>` with the message `raw`, just as it is; `stamp` (XEP-0082) is when it was received."""
    delay = f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>".encode() if stamp else b""
    if not raw.startswith(b"<message"):
        raw = serialise(parse(raw))
    if _BOUND.match(raw) is None:
        raw = b"<message xmlns='" + CLIENT_NAMESPACE.encode() + b"'" + raw[len(b"<message") :]
    return b"<forwarded xmlns='urn:xmpp:forward:0'>" + delay + raw + b"</forwarded>"

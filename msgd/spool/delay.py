"""The stamp on a message that waited."""

from __future__ import annotations

from typing import Final

from msgd.spool import archive_store
from msgd.spool.entry import accepted_at
from msgd.wire.xml import escape

_END: Final = b"</message>"


def with_delay(raw: bytes, id: int, domain: str) -> bytes:
    """The stanza with the time at which it was accepted (XEP-0203, XEP-0160 §3)."""
    stamp = archive_store.stamp(accepted_at(id))
    delay = f"<delay xmlns='urn:xmpp:delay' from='{escape(domain)}' stamp='{stamp}'/>".encode()
    if raw.endswith(delay + _END):
        return raw  # from an attempt before
    return raw.removesuffix(_END) + delay + _END

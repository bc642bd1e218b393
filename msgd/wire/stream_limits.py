"""What may be sent on a stream, told before anybody goes beyond it (XEP-0478)."""

from functools import lru_cache
from typing import Final
from xml.etree.ElementTree import Element

NAMESPACE: Final = "urn:xmpp:stream-limits:0"


@lru_cache(maxsize=16)  # a few streams have different ones; others come with a reload only
def stream_limits(size: int, idle: int = 0) -> bytes:
    """The stream feature: the largest element in bytes, and after how many seconds of silence the peer is
    looked after; 0: it is not."""
    seconds = f"<idle-seconds>{idle}</idle-seconds>" if idle else ""
    return f"<limits xmlns='{NAMESPACE}'><max-bytes>{size}</max-bytes>{seconds}</limits>".encode()


def announced(parent: Element) -> int:
    """The largest element that the sender of these features, or this `<bidi/>` (§3.2), takes; 0: not said."""
    text = (parent.findtext(f"{{{NAMESPACE}}}limits/{{{NAMESPACE}}}max-bytes") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0

"""XEP-0478 Stream Limits Advertisement: a client knows before it sends what is too large.

Those that hold on the stream now: strangers have smaller ones. Other servers are told of theirs by
`msgd.negotiation.link_incoming`.
"""

from msgd.routing.extension import Extension, Xep
from msgd.wire.stream_limits import stream_limits


class StreamLimits(Extension):
    """XEP-0478 Stream Limits Advertisement."""

    xep = Xep(478, "0.2.0")
    proves = "xep_0478/*"
    without = "What other servers tell of theirs is not heeded, nor ours told in bidi (§3.2, §4)."

    def stream_feature(self, domain: str, authenticated: bool) -> bytes:
        """§3.1: who is silent for `ping.interval` is pinged (XEP-0199)."""
        limits = self.config.limits
        if not authenticated:
            return stream_limits(limits.stranger_size)
        return stream_limits(limits.stanza_size, self.config.ping.interval)

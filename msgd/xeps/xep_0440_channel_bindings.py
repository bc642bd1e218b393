"""XEP-0440 SASL Channel-Binding Type Capability.

The declaration alone: `msgd.negotiation.authentication` tells what `msgd.wire.tls` can do.
"""

from msgd.routing.extension import Extension, Xep


class ChannelBindings(Extension):
    """XEP-0440 SASL Channel-Binding Type Capability."""

    xep = Xep(440, "1.0.0")
    proves = "xep_0440/*"

"""XEP-0368 SRV records for XMPP over TLS.

The declaration alone: `msgd.wire.discovery` finds servers so, and ports listen for it.
"""

from msgd.routing.extension import Extension, Xep


class DirectTls(Extension):
    """XEP-0368 SRV records for XMPP over TLS."""

    xep = Xep(368, "1.1.0")
    proves = "xep_0368/*"

"""XEP-0474 SASL SCRAM Downgrade Protection.

The declaration alone: `msgd.negotiation.sasl` has the hash.
"""

from msgd.routing.extension import Extension, Xep


class DowngradeProtection(Extension):
    """XEP-0474 SASL SCRAM Downgrade Protection."""

    xep = Xep(474, "0.5.0")
    proves = "xep_0474/*"

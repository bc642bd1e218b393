"""XEP-0185 Dialback Key Generation and Validation.

The declaration alone: `msgd.negotiation.dialback` makes the keys.
"""

from msgd.routing.extension import Extension, Xep


class DialbackKeys(Extension):
    """XEP-0185 Dialback Key Generation and Validation."""

    xep = Xep(185, "1.0")
    proves = "xep_0220/2.2*"

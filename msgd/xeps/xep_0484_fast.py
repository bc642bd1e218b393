"""XEP-0484 Fast Authentication Streamlining Tokens.

The declaration alone: `msgd.negotiation.fast` checks tokens, `msgd.accounts.devices` keeps them.
"""

from msgd.routing.extension import Extension, Xep


class Fast(Extension):
    """XEP-0484 Fast Authentication Streamlining Tokens."""

    xep = Xep(484, "0.2.0")
    proves = "xep_0484/*"

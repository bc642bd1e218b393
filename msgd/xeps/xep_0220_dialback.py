"""XEP-0220 Server Dialback.

The declaration alone: `msgd.negotiation.dialback` asks and is asked, `msgd.link_sharing` finds the stream.
"""

from msgd.routing.extension import Extension, Xep


class Dialback(Extension):
    """XEP-0220 Server Dialback."""

    xep = Xep(220, "1.1.1")
    proves = "xep_0220/*"

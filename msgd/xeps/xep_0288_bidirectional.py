"""XEP-0288 Bidirectional Server-to-Server Connections.

The declaration alone: the two sides of a link offer and use it.
"""

from msgd.routing.extension import Extension, Xep


class BidirectionalLinks(Extension):
    """XEP-0288 Bidirectional Server-to-Server Connections."""

    xep = Xep(288, "1.0.1")
    proves = "xep_0288/*"

"""XEP-0160 Best Practices for Handling Offline Messages.

The declaration alone: `msgd.routing.kinds` decides what is kept, the spool keeps it.
"""

from msgd.routing.extension import Extension, Xep


class OfflineMessages(Extension):
    """XEP-0160 Best Practices for Handling Offline Messages."""

    xep = Xep(160, "1.0.1")
    features = frozenset({"msgoffline"})
    proves = "xep_0160/*"

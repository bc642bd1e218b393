"""XEP-0334 Message Processing Hints.

The declaration alone: `msgd.routing.kinds` follows the hints. The XEP has no feature to
advertise.
"""

from msgd.routing.extension import Extension, Xep


class ProcessingHints(Extension):
    """XEP-0334 Message Processing Hints."""

    xep = Xep(334, "1.0.0")
    proves = "xep_0334/*"

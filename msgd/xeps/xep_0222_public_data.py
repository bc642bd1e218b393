"""XEP-0222 Persistent Storage of Public Data via PubSub.

The declaration alone: accounts are such services (XEP-0163) with publication options (XEP-0060 §7.1.5).
"""

from msgd.routing.extension import Extension, Xep


class PublicData(Extension):
    """XEP-0222 Persistent Storage of Public Data via PubSub."""

    xep = Xep(222, "1.0")
    proves = "xep_0222/*"

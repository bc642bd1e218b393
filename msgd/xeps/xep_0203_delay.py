"""XEP-0203 Delayed Delivery.

The declaration alone: the spool stamps what it kept. The XEP has no feature to advertise.
"""

from msgd.routing.extension import Extension, Xep


class DelayedDelivery(Extension):
    """XEP-0203 Delayed Delivery."""

    xep = Xep(203, "2.0")
    proves = "xep_0203/*"

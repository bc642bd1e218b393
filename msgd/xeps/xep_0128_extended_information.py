"""XEP-0128 Service Discovery Extensions: data forms in disco#info.

The declaration alone: `Extension.forms` supplies the forms and service discovery (XEP-0030) tells
them.
"""

from msgd.routing.extension import Extension, Xep


class ExtendedInformation(Extension):
    """XEP-0128 Service Discovery Extensions."""

    xep = Xep(128, "1.0.1")
    proves = "xep_0128/*"

"""XEP-0386 Bind 2.

The declaration alone: `msgd.negotiation.inline` binds; what can be enabled then, other extensions declare
(`extension.on_bind`).
"""

from msgd.routing.extension import Extension, Xep


class Bind2(Extension):
    """XEP-0386 Bind 2."""

    xep = Xep(386, "1.1.0")
    proves = "xep_0386/*"

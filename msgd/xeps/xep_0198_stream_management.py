"""XEP-0198 Stream Management.

The declaration alone: `msgd.routing.stream_management` counts, and it is offered as a stream
feature.
"""

from msgd.routing.extension import Extension, Xep


class StreamManagement(Extension):
    """XEP-0198 Stream Management."""

    xep = Xep(198, "1.6.3")
    proves = "xep_0198/*"

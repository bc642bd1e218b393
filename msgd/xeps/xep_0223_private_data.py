"""XEP-0223 Persistent Storage of Private Data via PubSub: nodes that are the account's alone.

What it asks of a server is publication options that are preconditions, the access model `whitelist`, and
items that stay: all in `msgd/xeps/pubsub/`.
"""

from msgd.routing.extension import Extension, Xep


class PrivateData(Extension):
    """XEP-0223 Persistent Storage of Private Data via PubSub."""

    xep = Xep(223, "1.1.1")
    proves = "xep_0223/*"

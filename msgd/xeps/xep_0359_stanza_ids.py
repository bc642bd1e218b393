"""XEP-0359 Unique and Stable Stanza IDs.

The declaration alone: the spool gives the ids and removes forged ones. The entity that assigns the
id of a one-to-one message is the account (§3), so it is the account that announces it.
"""

from msgd.routing.extension import Extension, Xep


class StanzaIds(Extension):
    """XEP-0359 Unique and Stable Stanza IDs."""

    xep = Xep(359, "0.7.0")
    account_features = frozenset({"urn:xmpp:sid:0"})
    proves = "xep_0359/*"

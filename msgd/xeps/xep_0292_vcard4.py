"""XEP-0292 vCard4 Over XMPP: the card of an account in its new form, a node that whoever may read it reads.

The old form (XEP-0054) is the same card: `msgd/xeps/profile/card.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgd.routing.extension import Extension, Xep
from msgd.xeps.profile import card
from msgd.xeps.profile.vcard4 import NEW
from msgd.xeps.pubsub import store
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.store import Item


class VCard4(Extension):
    """XEP-0292 vCard4 Over XMPP."""

    xep = Xep(292, "0.12.0")
    account_features = frozenset({NEW})
    nodes = frozenset({card.NODE})
    proves = "xep_0292/*"

    def follow(self, change: Change, node: str, published: Sequence[Item]) -> None:
        """Within the job that changes the node: what is there now is all there is."""
        if published or not store.count(change.connection, change.account.id, node):
            card.written_anew(change)

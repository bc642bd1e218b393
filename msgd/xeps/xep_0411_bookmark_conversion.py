"""XEP-0411 Bookmarks Conversion: private storage and the node of XEP-0048 are one list, and so is XEP-0402's.

Here what was published in the old node is taken over; private storage publishes there, too
(`xep_0049_private.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgd.routing.extension import Extension, Xep
from msgd.wire.xml import parse
from msgd.xeps import bookmarks
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.errors import pubsub_error
from msgd.xeps.pubsub.store import Item


class BookmarkConversion(Extension):
    """XEP-0411 Bookmarks Conversion."""

    xep = Xep(411, "1.1.0")
    account_features = frozenset({"urn:xmpp:bookmarks-conversion:0"})
    nodes = frozenset({bookmarks.OLD})
    proves = "xep_0411/*"

    def follow(self, change: Change, node: str, published: Sequence[Item]) -> None:
        """Within the job that changes the old node.

        Where it is emptied or deleted the bookmarks stay: clients do that when they have moved on.
        """
        for item in published:
            storage = parse(item.xml) if item.xml else None
            if storage is None or storage.tag != bookmarks.STORAGE:
                raise pubsub_error("bad-request", "invalid-payload", "<storage/> is wanted")
            bookmarks.take_over(change, storage)

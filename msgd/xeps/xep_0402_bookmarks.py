"""XEP-0402 PEP Native Bookmarks: a node with an item for each conversation, the account's alone.

Older clients see the same list (§5): `msgd/xeps/bookmarks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgd.routing.extension import Extension, Xep
from msgd.xeps import bookmarks
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.store import Item


class NativeBookmarks(Extension):
    """XEP-0402 PEP Native Bookmarks."""

    xep = Xep(402, "1.2.0")
    account_features = frozenset({f"{bookmarks.NODE}#compat", f"{bookmarks.NODE}#compat-pep"})
    nodes = frozenset({bookmarks.NODE})
    proves = "xep_0402/*"

    def follow(self, change: Change, node: str, published: Sequence[Item]) -> None:
        """Within the job that changes the list."""
        bookmarks.collate(change)

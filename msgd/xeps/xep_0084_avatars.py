"""XEP-0084 User Avatar: the picture in one node, what is said of it in another.

Only what an image is known by is looked at: nobody shows something under the hash of something else. What
follows from another avatar others are told by the event `avatar-changed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from msgd.routing.extension import Extension, Xep
from msgd.wire.xml import parse
from msgd.xeps.profile import avatar
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.errors import pubsub_error
from msgd.xeps.pubsub.store import Item


class Avatars(Extension):
    """XEP-0084 User Avatar."""

    xep = Xep(84, "1.1.4")
    nodes = frozenset({avatar.DATA, avatar.METADATA})
    proves = "xep_0084/*"

    def follow(self, change: Change, node: str, published: Sequence[Item]) -> None:
        """Within the job that changes one of the nodes."""
        for item in published:
            if node == avatar.DATA:
                _check_image(item)
            else:
                _check_metadata(item)
        shown = avatar.current(change.connection, change.account.id)
        if shown is None and node == avatar.DATA and published:
            return  # a new image pushed out the old one; the metadata that shows it is about to come
        change.after.append(lambda: change.router.note("avatar-changed", change.account, shown))


def _check_image(item: Item) -> None:
    """§3.1: the item's id is the image's hash."""
    picture = avatar.decoded(_payload(item, "data", avatar.DATA).text)
    if picture is None or item.id.lower() != avatar.digest(picture):
        raise pubsub_error("bad-request", "invalid-payload", "an image in Base64, by its SHA-1, is wanted")


def _check_metadata(item: Item) -> None:
    _payload(item, "metadata", avatar.METADATA)


def _payload(item: Item, name: str, namespace: str) -> Element:
    payload = parse(item.xml) if item.xml else None
    if payload is None or payload.tag != f"{{{namespace}}}{name}":
        raise pubsub_error("bad-request", "invalid-payload", f"<{name}/> is wanted")
    return payload

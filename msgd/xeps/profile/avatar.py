"""The avatar of an account: an item of the nodes of XEP-0084, also where a vCard shows it (XEP-0398).

Functions that run inside a job of the database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from msgd.storage.database import Connection
from msgd.wire.xml import element, parse, serialise
from msgd.xeps.pubsub import store
from msgd.xeps.pubsub.change import Change

DATA: Final = "urn:xmpp:avatar:data"
METADATA: Final = "urn:xmpp:avatar:metadata"
#: What a vCard shows everybody sees, so nodes that are made for its photo are open.
_OPEN: Final = {"access_model": ["open"]}
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
_NOWHERE: Final = "-"


class Avatar(NamedTuple):
    """The SHA-1 of the image in hexadecimal digits, its media type, and whether everybody may see it."""

    hash: str
    type: str
    open: bool


def digest(image: bytes) -> str:
    """What an avatar is known by."""
    # SHA-1 is what the XEP makes mandatory; nothing secret depends on it.
    return hashlib.sha1(image, usedforsecurity=False).hexdigest()


def decoded(text: str | None) -> bytes | None:
    """An image in Base64, white space passed over (XEP-0084 §4.1, XEP-0153 §4.6); None for what is none."""
    try:
        return base64.b64decode("".join((text or "").split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def media_type(image: bytes, said: str = "") -> str:
    """What an image is, by its first bytes, whatever is said of it (XEP-0153 §5)."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    for magic, type in _MAGIC:
        if image.startswith(magic):
            return type
    return said if said.startswith("image/") and len(said) < 100 else "image/png"


def current(connection: Connection, account_id: int) -> Avatar | None:
    """The avatar that the nodes show: the one of the newest metadata whose image is here."""
    newest = store.newest(connection, account_id, METADATA, 1)
    if not newest or not newest[0].xml:
        return None
    for info in parse(newest[0].xml).iterfind(f"{{{METADATA}}}info"):
        hash = info.get("id", newest[0].id)
        if info.get("url") is None and store.has(connection, account_id, DATA, hash):
            nodes = [store.node(connection, account_id, node) for node in (DATA, METADATA)]
            is_open = all(node is not None and node.access_model == "open" for node in nodes)
            return Avatar(hash, info.get("type", "image/png"), is_open)
    return None


def image(connection: Connection, account_id: int, hash: str) -> str:
    """An avatar's image in Base64."""
    item = store.item(connection, account_id, DATA, hash)
    text = parse(item.xml).text if item is not None else None
    return "".join((text or "").split())


def show(change: Change, picture: bytes, type: str) -> None:
    """Publish an avatar for the account (XEP-0398 §3.2), unless it is the one that is shown."""
    hash = digest(picture)
    shown = current(change.connection, change.account.id)
    if shown is not None and shown.hash == hash:
        return
    for node in (DATA, METADATA):
        if store.node(change.connection, change.account.id, node) is None:
            change.create(node, _OPEN)
    text = base64.b64encode(picture).decode()
    change.publish(DATA, [(hash, serialise(element(DATA, "data", None, text), _NOWHERE))])
    info = element(METADATA, "info", {"bytes": str(len(picture)), "id": hash, "type": type})
    change.publish(METADATA, [(hash, _metadata(info))])


def hide(change: Change) -> None:
    """Show no avatar any more (XEP-0084 §3.5)."""
    if current(change.connection, change.account.id) is not None:
        change.publish(METADATA, [("", _metadata())])


def _metadata(*infos: Element) -> bytes:
    return serialise(element(METADATA, "metadata", None, *infos), _NOWHERE)

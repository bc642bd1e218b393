"""The vCard of an account: the last one that was written, in the old form or the new.

What was written in the old form is kept as it came (table `vcard`), and published in the new one. What was
written in the new form is an item of the node `urn:xmpp:vcard4`, and the old form is made of it when somebody
asks. A photo is the account's avatar, and is kept where avatars are. Functions that run inside a job.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from sqlalchemy import bindparam, delete, select

from msgd.accounts.uses import Uses
from msgd.routing.account import LiveAccount
from msgd.storage import schema
from msgd.storage.database import Connection
from msgd.storage.statements import upsert
from msgd.wire.jid import JID
from msgd.wire.xml import element, parse, serialise
from msgd.xeps.profile import avatar
from msgd.xeps.profile.vcard4 import NEW, OLD, to_new, to_old
from msgd.xeps.pubsub import store
from msgd.xeps.pubsub.access import readable
from msgd.xeps.pubsub.change import Change
from msgd.xeps.pubsub.service import who

NODE: Final = "urn:xmpp:vcard4"
_PHOTO: Final = f"{{{OLD}}}PHOTO"
_OF_ACCOUNT: Final = schema.vcard.c.account_id == bindparam("account_id")
_FIND: Final = select(schema.vcard.c.xml).where(_OF_ACCOUNT)
_REMOVE: Final = delete(schema.vcard).where(_OF_ACCOUNT)
_KEEP: Final = upsert(schema.vcard, "xml")
_OPEN: Final = {"access_model": ["open"]}


def write(change: Change, card: Element) -> None:
    """Keep a vCard of the old form in place of the one that was there; an empty one removes it."""
    key: dict[str, object] = {"account_id": change.account.id}
    _write_photo(change, card)
    new = store.node(change.connection, change.account.id, NODE) is not None
    if not len(card):
        change.connection.run(_REMOVE, key)
        if new:
            change.purge(NODE)
        return
    change.connection.run(_KEEP, {**key, "xml": serialise(card)})
    if not new:
        change.create(NODE, _OPEN)
    change.publish(NODE, [("current", serialise(to_new(card), "-"))], followed=False)


def _write_photo(change: Change, card: Element) -> None:
    """Take the photo out of a card and show it as the avatar; without one there is none (XEP-0398 §3.2)."""
    for photo in card.findall(_PHOTO):
        picture = avatar.decoded(photo.findtext(f"{{{OLD}}}BINVAL"))
        if picture is not None:
            card.remove(photo)
            said = (photo.findtext(f"{{{OLD}}}TYPE") or "").strip()
            avatar.show(change, picture, avatar.media_type(picture, said))
            return
        if not any((child.text or "").strip() for child in photo):
            card.remove(photo)
    avatar.hide(change)


def written_anew(change: Change) -> None:
    """A card of the new form was published: it is the one that counts."""
    change.connection.run(_REMOVE, {"account_id": change.account.id})


def read(connection: Connection, account: LiveAccount, asker: JID) -> bytes | None:
    """The vCard in the old form, as somebody may see it; None when there is nothing for him."""
    row = connection.one(_FIND, {"account_id": account.id})
    if not account.uses & Uses.PEP:
        return row[0] if row is not None else None
    card = parse(row[0]) if row is not None else _of_node(connection, account, asker)
    shown = avatar.current(connection, account.id)
    if shown is not None and all(
        _reads(connection, account, node, asker) for node in (avatar.DATA, avatar.METADATA)
    ):
        card = card if card is not None else element(OLD, "vCard")
        for photo in card.findall(_PHOTO):
            card.remove(photo)
        data = avatar.image(connection, account.id, shown.hash)
        parts = element(OLD, "TYPE", None, shown.type), element(OLD, "BINVAL", None, data)
        card.append(element(OLD, "PHOTO", None, *parts))
    return serialise(card) if card is not None else None


def _of_node(connection: Connection, account: LiveAccount, asker: JID) -> Element | None:
    if _reads(connection, account, NODE, asker):
        for item in store.newest(connection, account.id, NODE, 1):
            card = parse(item.xml) if item.xml else None
            if card is not None and card.tag == f"{{{NEW}}}vcard":
                return to_old(card)
    return None


def _reads(connection: Connection, account: LiveAccount, node: str, asker: JID) -> bool:
    """Whether somebody may read a node (XEP-0398 §5.2)."""
    configuration = store.node(connection, account.id, node)
    return configuration is not None and readable(configuration, who(connection, account, node, asker))

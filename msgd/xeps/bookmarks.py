"""The bookmarks of an account: one list, for clients of three generations.

The truth is the node `urn:xmpp:bookmarks:1`, an item for each conversation (XEP-0402). The older node
`storage:bookmarks` (XEP-0048), with all of them in one item, and private storage (XEP-0049) show the same:
what is written there is taken over item by item, and what changes here is collated there. Bookmarks of web
pages are known to the old forms alone and stay in the old node. Functions that run inside a job.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.storage.database import Connection
from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID, JIDError
from msgd.wire.xml import element, parse, serialise
from msgd.xeps.pubsub import store
from msgd.xeps.pubsub.change import LONGEST_NAME, Change

NODE: Final = "urn:xmpp:bookmarks:1"
OLD: Final = "storage:bookmarks"
STORAGE: Final = f"{{{OLD}}}storage"
_CONFERENCE: Final = f"{{{NODE}}}conference"
_OLD_CONFERENCE: Final = f"{{{OLD}}}conference"
_EXTENSIONS: Final = f"{{{NODE}}}extensions"
_NOWHERE: Final = "-"


def view(connection: Connection, account_id: int) -> Element:
    """All bookmarks in the old form (XEP-0402 §5.1), in the order of their publication."""
    storage = element(OLD, "storage")
    for item in reversed(store.newest(connection, account_id, NODE, -1)):
        conference = parse(item.xml) if item.xml else None
        if conference is not None and conference.tag == _CONFERENCE:
            old = _cast(conference, NODE, OLD)
            old.set("jid", item.id)
            storage.append(old)
    kept = _newest_old(connection, account_id)
    storage.extend(child for child in kept if child.tag != _OLD_CONFERENCE)
    return storage


def collate(change: Change) -> None:
    """The list was changed: show the same in the old node, and tell who wants to hear of that."""
    storage = view(change.connection, change.account.id)
    if not _same(storage, _newest_old(change.connection, change.account.id)):
        write(change, storage, followed=False)


def write(change: Change, storage: Element, followed: bool = True) -> None:
    """Publish all bookmarks in the old form; `followed`: and take them over."""
    change.publish(OLD, [("current", serialise(storage, _NOWHERE))], followed=followed)


def take_over(change: Change, storage: Element) -> None:
    """The old form was written: publish what is new or other, retract what is gone (XEP-0402 §5.2)."""
    connection, account_id = change.connection, change.account.id
    before = {item.id: parse(item.xml) for item in store.newest(connection, account_id, NODE, -1) if item.xml}
    wanted: dict[str, Element] = {}
    for old in storage.iterfind(_OLD_CONFERENCE):
        room = _room(old.get("jid", ""))
        if room:
            wanted.setdefault(room, _new(old, before.get(room)))
    most = change.router.config.pubsub.items
    if len(wanted) > most:
        raise StanzaError("policy-violation", f"there are at most {most} bookmarks")
    for room in before.keys() - wanted.keys():
        change.retract(NODE, [room], notify=True, followed=False)
    for room, conference in wanted.items():
        if room not in before or not _same(conference, before[room]):
            change.publish(NODE, [(room, serialise(conference, _NOWHERE))], followed=False)


def _room(text: str) -> str:
    """The address of a bookmark, as the id of its item; what is no address stays as it is."""
    try:
        return str(JID.parse(text))
    except JIDError:
        return text if len(text) <= LONGEST_NAME else ""


def _new(old: Element, before: Element | None) -> Element:
    """A bookmark in the new form, with what old clients do not know of it and have left out."""
    conference = _cast(old, OLD, NODE)
    conference.attrib.pop("jid", None)
    if before is not None and conference.find(_EXTENSIONS) is None:
        conference.extend(before.findall(_EXTENSIONS))
    return conference


def _cast(node: Element, before: str, after: str) -> Element:
    """A copy with one namespace in place of another."""
    copy = Element(node.tag.replace(f"{{{before}}}", f"{{{after}}}", 1), dict(node.attrib))
    copy.text, copy.tail = node.text, node.tail
    copy.extend(_cast(child, before, after) for child in node)
    return copy


def _newest_old(connection: Connection, account_id: int) -> Element:
    for item in store.newest(connection, account_id, OLD, 1):
        storage = parse(item.xml) if item.xml else None
        if storage is not None and storage.tag == STORAGE:
            return storage
    return element(OLD, "storage")


def _same(one: Element, other: Element) -> bool:
    """Whether two elements say the same; white space around texts and elements does not count."""
    if one.tag != other.tag or one.attrib != other.attrib or len(one) != len(other):
        return False
    texts = [((each.text or "").strip(), (each.tail or "").strip()) for each in (one, other)]
    return texts[0] == texts[1] and all(_same(a, b) for a, b in zip(one, other, strict=True))

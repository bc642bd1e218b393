"""Kinds of messages: which are kept, archived, copied to the account's other devices, pushed, and may wait.

Pure functions of a stanza, asked on its way through routing and spool. The whole is one table,
protocol_spec/message_kinds.md. Sources: RFC 6121 §8.5.2.2, XEP-0160 §3, XEP-0280 §6.1, XEP-0313 §6.1.1,
XEP-0334 §4, XEP-0352 §5, XEP-0357 §5.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.stanza import Stanza

_CARBONS: Final = "urn:xmpp:carbons:2"
_HINTS: Final = "urn:xmpp:hints"
_STORE: Final = f"{_HINTS} store"
_NO_STORE: Final = f"{_HINTS} no-store"
_NO_ARCHIVE: Final = frozenset({_NO_STORE, f"{_HINTS} no-permanent-store"})
_MUC_USER: Final = "http://jabber.org/protocol/muc#user x"
_BODY: Final = "jabber:client body"
_DIRECT_INVITATION: Final = "jabber:x:conference x"
_EVENT: Final = "http://jabber.org/protocol/pubsub#event event"
_PUBSUB: Final = "{http://jabber.org/protocol/pubsub#event}"
#: Chat states (XEP-0085 §2): they say what somebody does this moment.
_CHAT_STATES: Final = frozenset(
    f"http://jabber.org/protocol/chatstates {state}"
    for state in ("active", "composing", "paused", "inactive", "gone")
)
_ENCRYPTED: Final = frozenset({
    "eu.siacs.conversations.axolotl encrypted",
    "urn:xmpp:omemo:2 encrypted",
    "urn:xmpp:openpgp:0 openpgp",
})  # fmt: skip
_OMEMO: Final = frozenset({"{eu.siacs.conversations.axolotl}encrypted", "{urn:xmpp:omemo:2}encrypted"})
_FORWARDED: Final = "{urn:xmpp:forward:0}forwarded/{jabber:client}message"
#: A call begins (XEP-0353); what follows is for devices that ring already.
_RINGS: Final = frozenset({"urn:xmpp:jingle-message:0 propose", "urn:xmpp:jingle-message:1 propose"})
#: What becomes of a text that is there already (XEP-0308, XEP-0424): nothing new to see.
_CHANGES: Final = frozenset({
    "urn:xmpp:message-correct:0 replace",
    "urn:xmpp:message-retract:1 retract",
})  # fmt: skip
#: Elements of conversations that often come without a text. XEP-0280 names the first three kinds; a device
#: that misses the others shows something else than its neighbour.
_IM: Final = (
    _CHAT_STATES
    | _ENCRYPTED
    | _RINGS
    | {
        "urn:xmpp:receipts request",
        "urn:xmpp:receipts received",
        "urn:xmpp:chat-markers:0 markable",
        "urn:xmpp:chat-markers:0 received",
        "urn:xmpp:chat-markers:0 displayed",
        "urn:xmpp:chat-markers:0 acknowledged",
        "urn:xmpp:reactions:0 reactions",
    }
    | _CHANGES
    | {
        f"urn:xmpp:jingle-message:0 {step}"
        for step in ("ringing", "accept", "proceed", "reject", "retract", "finish")
    }
)
_PRIVATE: Final = frozenset({f"{_CARBONS} private", f"{_HINTS} no-copy"})
#: Copies are not copied again.
_COPIES: Final = frozenset({f"{_CARBONS} sent", f"{_CARBONS} received"})
#: What may stand beside a chat state without making the message more than that.
_BESIDE_A_STATE: Final = _CHAT_STATES | {
    "jabber:client thread",
    f"{_CARBONS} private",
    "urn:xmpp:delay delay",
    "urn:xmpp:sid:0 origin-id",
    "urn:xmpp:sid:0 stanza-id",
    f"{_HINTS} no-copy",
    *_NO_ARCHIVE,
}
#: What a conversation consists of. Beside the text: what changes it, or is it in another form, and what tells
#: that it arrived and was read; a device that reads the archive needs all of them to show the same as others.
_CONVERSATION: Final = frozenset({
    _BODY,
    *_ENCRYPTED,
    "urn:xmpp:receipts received",
    "urn:xmpp:chat-markers:0 received",
    "urn:xmpp:chat-markers:0 displayed",
    "urn:xmpp:chat-markers:0 acknowledged",
    "urn:xmpp:reactions:0 reactions",
    "urn:xmpp:message-retract:1 retract",
})  # fmt: skip


def kept(stanza: Stanza) -> bool:
    """Whether `stanza` is to be stored when its recipient has no session that can take it."""
    if stanza.kind != "message" or stanza.type in ("error", "groupchat"):
        # Errors: their hints are not their own (XEP-0334 §5). Group chat: a room must learn
        # that its occupant is gone, so it gets an error (RFC 6121 §8.5.2.2.1).
        return False
    children = stanza.children
    if _NO_STORE in children:
        return False  # also against a <store/> beside it: the cautious reading
    if _STORE in children:
        return True
    if stanza.type == "headline":
        return False
    # XEP-0160 says it of 'chat'; a chat state in a normal message is as stale a day later.
    return _CHAT_STATES.isdisjoint(children) or not _BESIDE_A_STATE.issuperset(children)


def archived(stanza: Stanza) -> bool:
    """Whether `stanza` is part of a conversation that an archive is to show (XEP-0313 §6.1.1).

    Groups have archives of their own. A message that an archive keeps is also worth keeping until it is
    delivered.
    """
    if stanza.kind != "message" or stanza.type in ("error", "groupchat", "headline"):
        return False
    children = stanza.children
    if not _NO_ARCHIVE.isdisjoint(children):
        return False  # also against a <store/> beside it
    return _STORE in children or not _CONVERSATION.isdisjoint(children)


def copied(stanza: Stanza, sent: bool) -> bool:
    """Whether the other devices of an account get a copy of a message that it sent or received.

    XEP-0280 §6.1, whole ("rules:0"). Of an error it is not known here what it answers: one that brings back
    something of a conversation counts as an answer to that.
    """
    children = stanza.children
    if not _PRIVATE.isdisjoint(children) or not _COPIES.isdisjoint(children):
        return False
    kind = stanza.type
    if kind == "groupchat":
        return False
    if _MUC_USER in children and not sent and not _is_invitation(stanza):
        return False  # from an occupant of a room: the room sends it to each device
    if kind == "chat":
        return True
    if _DIRECT_INVITATION in children or _MUC_USER in children:
        return True
    if kind == "headline":
        return not _IM.isdisjoint(children)
    return _BODY in children or not _IM.isdisjoint(children)


def pushed(stanza: Stanza) -> bool:
    """Whether a sleeping phone is to be woken for a message: for what a person would want to see.

    A text, encrypted or not, an invitation, a call; not markers, receipts or states, nor what changes a
    text that was there before. A copy of a received message is what was copied.
    """
    if stanza.kind != "message" or stanza.type in ("error", "headline"):
        return False
    children, content = stanza.children, stanza.tree if not _COPIES.isdisjoint(stanza.children) else None
    if content is not None:
        copied_message = content.find(f"{{{_CARBONS}}}received/{_FORWARDED}")
        if copied_message is None:
            return False  # what the account wrote itself
        content, children = copied_message, _names_of(copied_message)
    if _NO_STORE in children and _RINGS.isdisjoint(children):
        return False
    if not _RINGS.isdisjoint(children):
        return True
    if not _CHANGES.isdisjoint(children):
        return False
    if not _ENCRYPTED.isdisjoint(children):
        return _carries_something(content if content is not None else stanza.tree)
    if _BODY in children or _DIRECT_INVITATION in children:
        return True
    return _MUC_USER in children and _invites(content if content is not None else stanza.tree)


def encrypted(stanza: Stanza) -> bool:
    """Whether what it says is encrypted: a text beside it is for those who cannot read that."""
    return not _ENCRYPTED.isdisjoint(stanza.children)


def can_wait(stanza: Stanza) -> bool:
    """Whether a stanza may wait while nobody looks at the client (XEP-0352 §5).

    Presence and what somebody does this moment or publishes; what is for a person, answers and questions
    are sent at once.
    """
    if stanza.kind == "presence":
        return stanza.type in (None, "unavailable")
    if stanza.kind != "message" or stanza.type == "error":
        return False
    children = stanza.children
    if stanza.type == "headline":
        return _EVENT in children and _BODY not in children
    if not _COPIES.isdisjoint(children):
        children = _of_the_copied(stanza)
    return not _CHAT_STATES.isdisjoint(children) and _BESIDE_A_STATE.issuperset(children)


def replaces(stanza: Stanza) -> tuple[str, ...] | None:
    """What a stanza that can wait says something new about: what was said of that before is out of date.

    The presence of a resource, what somebody does in a chat, or one published item; None for anything else.
    """
    who = stanza.from_ or ""
    if stanza.kind == "presence":
        return ("presence", who)
    if stanza.type != "headline":
        return ("state", who) if _COPIES.isdisjoint(stanza.children) else None
    items = stanza.tree.findall(f"{_PUBSUB}event/{_PUBSUB}items")
    if len(items) != 1 or len(items[0]) != 1:
        return None
    return ("item", who, items[0].get("node", ""), items[0][0].get("id", ""))


def _of_the_copied(stanza: Stanza) -> tuple[str, ...]:
    """The children of the message that a carbon brings."""
    message = stanza.tree.find(f"*/{_FORWARDED}")
    return _names_of(message) if message is not None else ()


def _names_of(message: Element) -> tuple[str, ...]:
    return tuple(child.tag[1:].replace("}", " ", 1) for child in message)


def _carries_something(message: Element) -> bool:
    """Not keys alone: such messages (XEP-0384, without a payload) are between devices."""
    omemo = [child for child in message if child.tag in _OMEMO]
    return not omemo or any(child.find("{*}payload") is not None for child in omemo)


def _is_invitation(stanza: Stanza) -> bool:
    """A mediated invitation (XEP-0045 §7.8.2)."""
    return _invites(stanza.tree)


def _invites(message: Element) -> bool:
    user = "{http://jabber.org/protocol/muc#user}"
    return message.find(f"{user}x/{user}invite") is not None

"""Which messages are worth keeping for somebody who is not there, and which belong into an archive.

Pure functions between routing and spool. Sources: RFC 6121 §8.5.2.2, XEP-0160 §3, XEP-0313 §6.1.1,
XEP-0334 §4.
"""

from __future__ import annotations

from typing import Final

from msgd.wire.stanza import Stanza

_HINTS: Final = "urn:xmpp:hints"
_NO_STORE: Final = f"{_HINTS} no-store"
_STORE: Final = f"{_HINTS} store"
#: Chat states (XEP-0085 §2): they say what somebody does this moment.
_CHAT_STATES: Final = frozenset(
    f"http://jabber.org/protocol/chatstates {state}"
    for state in ("active", "composing", "paused", "inactive", "gone")
)
#: What may stand beside a chat state without making the message more than that.
_WEIGHTLESS: Final = _CHAT_STATES | {
    "jabber:client thread",
    "urn:xmpp:carbons:2 private",
    "urn:xmpp:delay delay",
    "urn:xmpp:sid:0 origin-id",
    "urn:xmpp:sid:0 stanza-id",
    f"{_HINTS} no-copy",
    f"{_HINTS} no-permanent-store",
}
_NO_ARCHIVE: Final = frozenset({_NO_STORE, f"{_HINTS} no-permanent-store"})
#: What a conversation consists of. Beside the text: what changes it, or is it in another form, and what tells
#: that it arrived and was read; a device that reads the archive needs all of them to show the same as others.
_CONVERSATION: Final = frozenset({
    "jabber:client body",
    "eu.siacs.conversations.axolotl encrypted",
    "urn:xmpp:omemo:2 encrypted",
    "urn:xmpp:openpgp:0 openpgp",
    "urn:xmpp:receipts received",
    "urn:xmpp:chat-markers:0 received",
    "urn:xmpp:chat-markers:0 displayed",
    "urn:xmpp:chat-markers:0 acknowledged",
    "urn:xmpp:reactions:0 reactions",
    "urn:xmpp:message-retract:1 retract",
})  # fmt: skip


def worth_keeping(stanza: Stanza) -> bool:
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
    return _CHAT_STATES.isdisjoint(children) or not _WEIGHTLESS.issuperset(children)


def worth_archiving(stanza: Stanza) -> bool:
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

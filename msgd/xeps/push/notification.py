"""What an app server gets: the item that is published at its node (XEP-0357 §7).

By default it says how many messages wait, and nothing else: neither from whom nor what.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgd.routing.kinds import encrypted
from msgd.wire.stanza import Stanza
from msgd.wire.xml import escape
from msgd.xeps.push.registration import Registration

NAMESPACE: Final = "urn:xmpp:push:0"
PUBLISH_OPTIONS: Final = "http://jabber.org/protocol/pubsub#publish-options"
PUBSUB: Final = "http://jabber.org/protocol/pubsub"
_SUMMARY: Final = "urn:xmpp:push:summary"
#: Characters of a text that goes along: what fits on a locked screen.
_LONGEST_BODY: Final = 200

#: What a push says beside the number (`push.tells`).
COUNT, SENDER, BODY = "count", "sender", "body"


def note_last(registration: Registration, stanza: Stanza, tells: str) -> None:
    """Remember of the last message what pushes tell of it; nothing by default."""
    registration.last_sender = str(stanza.from_) if tells != COUNT and stanza.from_ is not None else ""
    tell = tells == BODY and not encrypted(stanza)
    body = stanza.tree.findtext("{jabber:client}body") if tell else None
    registration.last_body = (body or "")[:_LONGEST_BODY]


def notification(registration: Registration, text: str) -> bytes:
    """The payload of the IQ; `text` stands in the place of what was written, where that is not told."""
    fields: list[tuple[str, list[str]]] = [("message-count", [str(max(1, registration.unseen))])]
    if registration.last_sender:
        fields.append(("last-message-sender", [registration.last_sender]))
    if registration.last_body or text:
        fields.append(("last-message-body", [registration.last_body or text]))
    options = ""
    if registration.options:
        options = f"<publish-options>{_form(PUBLISH_OPTIONS, registration.options)}</publish-options>"
    return (
        f"<pubsub xmlns='{PUBSUB}'><publish node='{escape(registration.node)}'><item>"
        f"<notification xmlns='{NAMESPACE}'>{_form(_SUMMARY, fields)}</notification>"
        f"</item></publish>{options}</pubsub>"
    ).encode()


def _form(form_type: str, fields: Iterable[tuple[str, list[str]]]) -> str:
    """XEP-0004 §3.2, as it is submitted."""
    head = f"<field var='FORM_TYPE' type='hidden'><value>{form_type}</value></field>"
    return f"<x xmlns='jabber:x:data' type='submit'>{head}{''.join(map(_field, fields))}</x>"


def _field(field: tuple[str, list[str]]) -> str:
    var, values = field
    inside = "".join(f"<value>{escape(value)}</value>" for value in values)
    return f"<field var='{escape(var)}'>{inside}</field>"

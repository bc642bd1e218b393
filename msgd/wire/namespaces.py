"""Stanzas between streams of different kinds: the namespace of their content, changed in one place.

Inside the server a stanza is in `jabber:client`. On the stream of a component it is in
`jabber:component:accept`, on a link to another server in `jabber:server`; without prefixes these look alike,
so that the bytes can mostly stay as they are. Sources: RFC 6120 §4.8, XEP-0114 §3.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.stanza import Stanza
from msgd.wire.xml import CLIENT_NAMESPACE, parse, serialise

COMPONENT_NAMESPACE: Final = "jabber:component:accept"
SERVER_NAMESPACE: Final = "jabber:server"

_KINDS: Final = frozenset({"message", "presence", "iq"})
_CLIENT: Final = CLIENT_NAMESPACE.encode()
#: Where these are, a namespace may be bound to a prefix, or be written with references: then the element is
#: read. Strangers choose the text, so the pattern must not look at any part of it twice.
_PREFIXES: Final = b"xmlns:"
_REFERENCE: Final = re.compile(rb"xmlns\s*=\s*(?:'[^'<]*&|\"[^\"<]*&)")


def incoming(
    name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes, namespace: str
) -> Stanza | None:
    """The stanza of an element (see `XMLStream`) that came on a stream whose content is in `namespace`.

    None when it is no stanza. Everything in `namespace`, wherever it stands, is in `jabber:client` then: what
    somebody forwards belongs there as well (XEP-0297). `to` and `from` are for the caller to set.
    """
    own, _, kind = name.rpartition(" ")
    if kind not in _KINDS or own not in (CLIENT_NAMESPACE, namespace):
        return None
    if namespace.encode() not in raw and _is_plain(raw):
        return Stanza(kind, raw, attributes, children)
    tree = parse(raw)
    for each in tree.iter():
        _rename(each, namespace, CLIENT_NAMESPACE)
    foreign = f"{namespace} "
    children = tuple(
        f"{CLIENT_NAMESPACE} {each.removeprefix(foreign)}" if each.startswith(foreign) else each
        for each in children
    )
    return Stanza(kind, serialise(tree), attributes, children)


def outgoing(raw: bytes, namespace: str) -> bytes:
    """The bytes of a stanza for a stream whose content is in `namespace`, its default namespace.

    The stanza and what belongs to it, such as `<body/>`, are in `namespace` then. What stands inside other
    elements, such as a forwarded message, stays in `jabber:client`.
    """
    # `find`, as `in` takes Python several times as long, and this is asked for each message.
    if raw.find(_CLIENT) < 0 and _is_plain(raw):
        return raw
    tree = parse(raw)
    todo = [tree]
    while todo:
        each = todo.pop()
        if _rename(each, CLIENT_NAMESPACE, namespace):
            todo += each
    return serialise(tree, namespace)


def _is_plain(raw: bytes) -> bool:
    """Every namespace in it can be told from the bytes."""
    return raw.find(_PREFIXES) < 0 and not _REFERENCE.search(raw)


def _rename(element: Element, old: str, new: str) -> bool:
    """Change the namespace of an element that is in `old`; whether it was."""
    there, _, name = element.tag[1:].rpartition("}")
    if there != old:
        return False
    element.tag = f"{{{new}}}{name}"
    return True

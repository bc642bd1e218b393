"""Where servers meet: a stanza of `jabber:client` becomes one of `jabber:server`, and back.

What is a stanza's own changes its namespace: the stanza, and inside it whatever has no element of another
namespace around it. Elements inside others keep theirs: a message that is forwarded (XEP-0297) says what it
is. Where the bytes say no namespace by name, only the stream around them differs, and they go as they are.

Source: RFC 6120 §4.8.3; proved by the transcripts rfc6120/04.8.3* and a property test.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.namespaces import SERVER_NAMESPACE, outgoing
from msgd.wire.xml import CLIENT_NAMESPACE, START_TAG, STREAM_NAMESPACE

__all__ = [
    "DIALBACK_NAMESPACE", "LINK_HEADER", "SERVER_NAMESPACE", "SERVER_STANZAS", "stand_alone", "stands_alone",
    "to_clients", "to_server",
]  # fmt: skip

DIALBACK_NAMESPACE: Final = "jabber:server:dialback"
#: What every stream between servers is read inside of: its header binds these prefixes, and mostly no others.
LINK_HEADER: Final = (
    f"<stream:stream xmlns='{SERVER_NAMESPACE}' xmlns:stream='{STREAM_NAMESPACE}'"
    f" xmlns:db='{DIALBACK_NAMESPACE}'>"
).encode()
#: The tags of the stanzas of servers, as in a tree.
SERVER_STANZAS: Final = frozenset(f"{{{SERVER_NAMESPACE}}}{kind}" for kind in ("message", "presence", "iq"))
#: Prefixes of the header, prefixes of its own, names in disguise, and the namespace that has to change.
_SUSPECT: Final = (b"db:", b"stream:", b"xmlns:", b"&#", b"jabber:server")


def to_server(raw: bytes) -> bytes:
    """The bytes of a stanza for a stream between servers; `raw` is what a client would be sent."""
    # Most name no namespace at all, so that nothing but the stream around them says which it is.
    return raw if raw.find(b"xmlns") < 0 else outgoing(raw, SERVER_NAMESPACE)


def to_clients(tree: Element) -> None:
    """Make a stanza of servers one for clients; as in `serialise`, nothing has a prefix then."""
    before, after = f"{{{SERVER_NAMESPACE}}}", f"{{{CLIENT_NAMESPACE}}}"
    todo = [tree]
    while todo:
        element = todo.pop()
        if element.tag.startswith(before):
            element.tag = after + element.tag[len(before) :]
            todo.extend(element)


def stand_alone(data: bytes) -> bool:
    """Whether the bytes of stanzas of a server say the same to clients, where nothing is changed in them.

    `data` is vetted, and was read inside `LINK_HEADER`. False where each has to be looked at.
    """
    # No element inherits more than the default namespace, and none is named in disguise. Numbers, and `find`,
    # as looking for a text by `in` takes Python several times as long, and this is asked for each message.
    if 0x3A not in data and 0x26 not in data:  # ":", "&"
        return True
    if data.find(b"db:") >= 0 or data.find(b"stream:") >= 0:
        return False
    return data.find(b"xmlns") < 0 or (
        data.find(b"jabber:") < 0 and data.find(b"xmlns:") < 0 and data.find(b"&#") < 0
    )


def stands_alone(raw: bytes) -> bool:
    """The same of one stanza, with a closer look."""
    if any(raw.find(text) >= 0 for text in _SUSPECT):
        return False
    if raw.find(b"jabber:client") < 0:
        return True
    start = START_TAG.match(raw)
    return start is not None and b"xmlns" not in start.group()

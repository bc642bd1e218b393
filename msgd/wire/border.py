"""Where servers meet: a stanza of `jabber:client` becomes one of `jabber:server`, and back.

What is a stanza's own changes its namespace: the stanza, and inside it whatever has no element of another
namespace around it. Elements inside others keep theirs: a message that is forwarded (XEP-0297) says what it
is. Where the bytes say no namespace by name, only the stream around them differs, and they go as they are.

Source: RFC 6120 §4.8.3; proved by the transcripts rfc6120/04.8.3* and a property test.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element

from msgd.wire.namespaces import SERVER_NAMESPACE, outgoing
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, parse, serialise

__all__ = ["DIALBACK_NAMESPACE", "LINK_HEADER", "SERVER_NAMESPACE", "to_client", "to_server"]

DIALBACK_NAMESPACE: Final = "jabber:server:dialback"
#: What every stream between servers is read inside of: its header binds these prefixes, and mostly no others.
LINK_HEADER: Final = (
    f"<stream:stream xmlns='{SERVER_NAMESPACE}' xmlns:stream='{STREAM_NAMESPACE}'"
    f" xmlns:db='{DIALBACK_NAMESPACE}'>"
).encode()
#: An element with a prefix. Inside of it what has none is in the stream's namespace, and must keep that.
_PREFIXED: Final = re.compile(rb"<[^\s<>/!?='\"&:]+:")


def to_server(raw: bytes) -> bytes:
    """The bytes of a stanza for a stream between servers; `raw` is what a client would be sent."""
    return outgoing(raw, SERVER_NAMESPACE)


def to_client(raw: bytes) -> bytes:
    """The bytes of a stanza for clients; `raw` was read inside `LINK_HEADER`."""
    if b"jabber:server" not in raw and _plain(raw):
        return raw
    tree = parse(raw, LINK_HEADER)
    _rename(tree, SERVER_NAMESPACE, CLIENT_NAMESPACE)
    return serialise(tree, CLIENT_NAMESPACE)


def _plain(raw: bytes) -> bool:
    """Whether no element inherits more than one can see: no prefixes, no namespace in disguise."""
    return b"&#" not in raw and _PREFIXED.search(raw) is None


def _rename(tree: Element, old: str, new: str) -> None:
    before, after = f"{{{old}}}", f"{{{new}}}"
    todo = [tree]
    while todo:
        element = todo.pop()
        if element.tag.startswith(before):
            element.tag = after + element.tag[len(before) :]
            todo.extend(element)

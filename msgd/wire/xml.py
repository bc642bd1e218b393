"""Small helpers for XML that the server writes or has already vetted.

Trees are `xml.etree.ElementTree` elements (expat and C inside) with `{namespace}name` tags. Bytes
from strangers come here only after the framer (`xmlstream.py`) accepted them.
"""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, XMLParser

XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
CLIENT_NAMESPACE = "jabber:client"
STREAM_NAMESPACE = "http://etherx.jabber.org/streams"

#: The first tag of vetted bytes, to its end: quoted values may hold '>'.
START_TAG: Final = re.compile(rb"<[^\s/>]+(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
#: What makes an element more than a start tag, plain text and an end tag.
_NOT_TEXT = re.compile(rb"&|\r|<!|>[^<]*<[^/]|>[^<]*>|='[^']*>[^']*'|=\"[^\"]*>[^\"]*\"")
_ESCAPES = str.maketrans({
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;",
    "\t": "&#9;", "\n": "&#10;", "\r": "&#13;",
})  # fmt: skip
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})


def escape(text: str) -> str:
    """`text` made safe for element content and for an attribute value in either quote."""
    return text.translate(_ESCAPES)


def element(
    namespace: str,
    name: str,
    attributes: dict[str, str] | None = None,
    *children: Element | str,
) -> Element:
    """A new element; strings among `children` become text in their place."""
    made = Element(f"{{{namespace}}}{name}", attributes or {})
    last: Element | None = None
    for child in children:
        if not isinstance(child, str):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


_HEADER = f"<stream:stream xmlns='{CLIENT_NAMESPACE}' xmlns:stream='{STREAM_NAMESPACE}'>".encode()


def parse(raw: bytes, header: bytes | None = None) -> Element:
    """The tree of one vetted element.

    The element is read inside `header` (a stream header with the prefix `stream`; by default that
    of a client stream), so that prefixes are bound as they were when the element was received.
    Raises `xml.etree.ElementTree.ParseError` for bytes that are not vetted.
    """
    parser = XMLParser()
    parser.feed(b"".join((header or _HEADER, raw, b"</stream:stream>")))
    root: Element = parser.close()
    return root[0]


def text_of(raw: bytes) -> str:
    """The text directly inside one vetted element, as `parse(raw).text` would have it."""
    start, end = raw.find(b">") + 1, raw.rfind(b"</")
    if end < start:
        return ""
    inside = raw[start:end]
    if _NOT_TEXT.search(raw):
        return parse(raw).text or ""
    return inside.decode()


def expanded(tag: str) -> str:
    """The name of an element or attribute as the framer gives it: 'namespace name', or the name alone."""
    if tag[:1] == "{":
        namespace, _, name = tag[1:].rpartition("}")
        return f"{namespace} {name}"
    return tag


def _split(tag: str) -> tuple[str, str]:
    if tag[:1] == "{":
        namespace, _, name = tag[1:].rpartition("}")
        return namespace, name
    return "", tag


def _start_tag(node: Element, default: str) -> tuple[str, str, str]:
    """The start tag without its end, the name, and the default namespace inside."""
    namespace, name = _split(node.tag)
    parts = ["<", name]
    if namespace != default:
        parts.append(f" xmlns='{escape(namespace)}'")
    prefixes = 0
    for key, value in node.items():
        key_namespace, key_name = _split(key)
        if key_namespace == XML_NAMESPACE:
            key_name = "xml:" + key_name
        elif key_namespace:
            prefixes += 1
            parts.append(f" xmlns:a{prefixes}='{escape(key_namespace)}'")
            key_name = f"a{prefixes}:{key_name}"
        parts.append(f" {key_name}='{escape(value)}'")
    return "".join(parts), name, namespace


def serialise(node: Element, namespace: str = CLIENT_NAMESPACE) -> bytes:
    """`node` as bytes for a place where `namespace` is the default namespace.

    Iterative: depth is bounded by memory, not by the interpreter's stack.
    """
    out: list[str] = []
    # What is still to be written: an element with the namespace around it, or finished text.
    todo: list[tuple[Element, str] | str] = [(node, namespace)]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        current, default = item
        head, name, inside = _start_tag(current, default)
        text = current.text
        if not text and not len(current):
            out.append(head + "/>")
            continue
        out.append(head + ">")
        if text:
            out.append(text.translate(_TEXT_ESCAPES))
        todo.append(f"</{name}>")
        for child in reversed(current):
            if child.tail:
                todo.append(child.tail.translate(_TEXT_ESCAPES))
            todo.append((child, inside))
    return "".join(out).encode()

"""Stanzas between streams of different kinds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgd.wire.errors import StreamError
from msgd.wire.header import Header
from msgd.wire.namespaces import COMPONENT_NAMESPACE, SERVER_NAMESPACE, incoming, outgoing
from msgd.wire.stanza import Stanza
from msgd.wire.xml import CLIENT_NAMESPACE, STREAM_NAMESPACE, escape, parse
from msgd.wire.xmlstream import Limits, XMLStream

NAMESPACES = ("urn:a", "urn:b", CLIENT_NAMESPACE, COMPONENT_NAMESPACE, SERVER_NAMESPACE, "")
BORDERS = (COMPONENT_NAMESPACE, SERVER_NAMESPACE)

#: Text, and attributes without and with a namespace.
texts = st.text(st.sampled_from("ab <>&'\"\n:ä𝄞]"), max_size=6)
attributes = st.dictionaries(
    st.sampled_from(["id", "type", "x", "{urn:a}y", "{jabber:client}z"]), texts, max_size=3
)


def header(namespace: str) -> bytes:
    return f"<stream:stream xmlns='{namespace}' xmlns:stream='{STREAM_NAMESPACE}'>".encode()


@st.composite
def elements(draw: st.DrawFn, namespaces: tuple[str, ...], depth: int = 0) -> Element:
    """Any tree, a stanza at its root."""
    namespace = draw(st.sampled_from(namespaces)) if depth else namespaces[-1]
    name = draw(st.sampled_from(["message", "body", "x"])) if depth else "message"
    made = Element(f"{{{namespace}}}{name}" if namespace else name, draw(attributes))
    made.text = draw(texts)
    if depth < 4:
        for _ in range(draw(st.integers(0, 2))):
            child = draw(elements(namespaces, depth + 1))
            child.tail = draw(texts)
            made.append(child)
    return made


class Writer:
    """Writes a tree in one of the many ways there are: prefixes or none, declared here or there."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self._draw = draw

    def write(self, node: Element, default: str, prefixes: dict[str, str]) -> str:
        """The element inside others that bind `default` and `prefixes` (namespace by prefix)."""
        namespace, name = node.tag[1:].rsplit("}", 1) if node.tag[:1] == "{" else ("", node.tag)
        prefixes, declared = dict(prefixes), ""
        known = [prefix for prefix, bound in prefixes.items() if bound == namespace]
        if known and self._draw(st.booleans()):
            name = f"{known[0]}:{name}"
        elif namespace and self._draw(st.sampled_from([False, False, True])):
            prefix = f"p{len(prefixes)}"
            prefixes[prefix] = namespace
            declared, name = f" xmlns:{prefix}={self._quoted(namespace)}", f"{prefix}:{name}"
        elif namespace != default or self._draw(st.sampled_from([False, False, True])):
            default, declared = namespace, f" xmlns={self._quoted(namespace)}"
        for key, value in node.items():
            if key[:1] == "{":
                bound, key = key[1:].rsplit("}", 1)
                prefix = f"p{len(prefixes)}"
                prefixes[prefix] = bound
                declared += f" xmlns:{prefix}='{bound}'"
                key = f"{prefix}:{key}"
            declared += f" {key}='{escape(value)}'"
        inside = escape(node.text or "") + "".join(
            self.write(child, default, prefixes) + escape(child.tail or "") for child in node
        )
        return f"<{name}{declared}>{inside}</{name}>" if inside else f"<{name}{declared}/>"

    def _quoted(self, namespace: str) -> str:
        if namespace and self._draw(st.sampled_from([False, False, True])):
            namespace = f"&#{ord(namespace[0])};{namespace[1:]}"
        quote = self._draw(st.sampled_from("'\""))
        return f"{quote}{namespace}{quote}"


class Frames:
    """Listens to a stream."""

    def __init__(self, namespace: str, raw: bytes) -> None:
        self.stanzas: list[Stanza | None] = []
        self._namespace = namespace
        stream = XMLStream(self, Limits(1_000_000, 10_000))
        stream.data_received(header(namespace) + raw)

    def stream_opened(self, header: Header) -> None: ...
    def stream_closed(self) -> None: ...
    def connection_lost(self) -> None: ...
    def output_drained(self) -> None: ...

    def stream_failed(self, error: StreamError) -> None:
        raise error

    def frame_received(
        self, name: str, attributes: dict[str, str], children: tuple[str, ...], raw: bytes
    ) -> None:
        self.stanzas.append(incoming(name, attributes, children, raw, self._namespace))


def shape(node: Element) -> object:
    return (
        node.tag,
        dict(node.items()),
        node.text or "",
        [(shape(child), child.tail or "") for child in node],
    )


def renamed(node: Element, old: str, new: str, deep: bool) -> object:
    """What a tree is to become: all of it, or what hangs together with its root."""
    tag = node.tag
    if not tag.startswith(f"{{{old}}}"):
        if not deep:
            return shape(node)
    else:
        tag = f"{{{new}}}{tag.rpartition('}')[2]}"
    children = [(renamed(child, old, new, deep), child.tail or "") for child in node]
    return (tag, dict(node.items()), node.text or "", children)


@pytest.mark.parametrize("border", BORDERS)
@given(data=st.data())
def test_what_comes_in_is_in_jabber_client(border: str, data: st.DataObject) -> None:
    tree = data.draw(elements((*NAMESPACES, border)))
    raw = Writer(data.draw).write(tree, border, {}).encode()
    # What has no prefix in a stream's default namespace is read as if it were in jabber:client.
    [stanza] = Frames(border, raw).stanzas
    assert stanza is not None
    assert shape(parse(stanza.raw)) == renamed(tree, border, CLIENT_NAMESPACE, deep=True)
    names = tuple(
        child.tag[1:].replace("}", " ") if child.tag[:1] == "{" else child.tag for child in parse(stanza.raw)
    )
    assert stanza.children == names
    assert stanza.kind == "message"


@pytest.mark.parametrize("border", BORDERS)
@given(data=st.data())
def test_what_goes_out_is_in_the_namespace_of_its_stream(border: str, data: st.DataObject) -> None:
    tree = data.draw(elements((*NAMESPACES, CLIENT_NAMESPACE)))
    raw = Writer(data.draw).write(tree, CLIENT_NAMESPACE, {}).encode()
    out = outgoing(raw, border)
    assert shape(parse(out, header(border))) == renamed(tree, CLIENT_NAMESPACE, border, deep=False)


@pytest.mark.parametrize("border", BORDERS)
@given(data=st.data())
def test_out_and_in_again_is_as_it_was(border: str, data: st.DataObject) -> None:
    tree = data.draw(elements(("urn:a", "", CLIENT_NAMESPACE)))
    raw = Writer(data.draw).write(tree, CLIENT_NAMESPACE, {}).encode()
    [stanza] = Frames(border, outgoing(raw, border)).stanzas
    assert stanza is not None
    assert shape(parse(stanza.raw)) == shape(tree)


def test_usual_bytes_stay_as_they_are() -> None:
    raw = b"<message to='a' from=\"b\"><body>x &amp; y</body><x xmlns='urn:a' a='&amp;'/></message>"
    assert outgoing(raw, SERVER_NAMESPACE) is raw
    [stanza] = Frames(SERVER_NAMESPACE, raw).stanzas
    assert stanza is not None
    assert stanza.raw == raw


def test_a_forwarded_message_stays_one_of_a_client() -> None:
    inner = b"<message xmlns='jabber:client'><body>x</body></message>"
    raw = b"<message><forwarded xmlns='urn:xmpp:forward:0'>" + inner + b"</forwarded></message>"
    assert outgoing(raw, SERVER_NAMESPACE) == raw


@pytest.mark.parametrize("raw", [b"<x/>", b"<message xmlns='urn:a'/>", b"<iq xmlns='jabber:server'/>"])
def test_what_is_no_stanza_there(raw: bytes) -> None:
    assert Frames(COMPONENT_NAMESPACE, raw).stanzas == [None]


def test_what_takes_its_namespace_through_a_prefixed_element() -> None:
    raw = b"<message><f:x xmlns:f='urn:a'><body/></f:x></message>"
    assert parse(outgoing(raw, SERVER_NAMESPACE), header(SERVER_NAMESPACE))[0][0].tag == "{jabber:client}body"


@pytest.mark.parametrize("word", ["xmlns", "xmlns ", "xmlns='", 'xmlns="', "xmlns= ", "xmlns:"])
def test_texts_that_look_like_namespaces_take_no_time(word: str) -> None:
    text = escape(word).replace("&apos;", "'").replace("&quot;", '"') * (200_000 // len(word))
    raw = f"<message><body>{text}</body></message>".encode()
    begin = time.process_time()
    outgoing(raw, SERVER_NAMESPACE)
    incoming("jabber:client message", {}, (), raw, SERVER_NAMESPACE)
    assert time.process_time() - begin < 1

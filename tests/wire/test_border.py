"""Between `jabber:client` and `jabber:server`: stanzas as bytes, checked against trees."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgd.wire.border import LINK_HEADER, to_client, to_server
from msgd.wire.xml import escape, parse

CLIENT, SERVER = "jabber:client", "jabber:server"
NAMESPACES = (CLIENT, SERVER, "urn:x", "urn:jabber:client", "")
NAMES = ("message", "body", "x")
TEXTS = ("", "hi", "jabber:client", "jabber:server", "a&b<c>:d", "\r\n", "é")


def expected(tree: Element, old: str, new: str) -> Element:
    """What it has to become: the stanza's own part is renamed, and nothing else."""
    if not tree.tag.startswith(f"{{{old}}}"):
        return tree
    made = Element(tree.tag.replace(f"{{{old}}}", f"{{{new}}}", 1), tree.attrib)
    made.text = tree.text
    for child in tree:
        copy = expected(child, old, new)
        copy.tail = child.tail
        made.append(copy)
    return made


def same(a: Element, b: Element) -> bool:
    """Whether two trees say the same."""
    return (
        a.tag == b.tag
        and a.attrib == b.attrib
        and (a.text or "") == (b.text or "")
        and (a.tail or "") == (b.tail or "")
        and len(a) == len(b)
        and all(map(same, a, b))
    )


@st.composite
def elements(draw: st.DrawFn, stream: str, depth: int = 0, default: str = "") -> str:
    """An element as somebody might write it: with default namespaces, prefixes, disguised characters."""
    default = default or stream
    name = draw(st.sampled_from(NAMES))
    way = draw(
        st.sampled_from(
            ("inherits", "default", "prefix", "disguised") if depth else ("inherits", "default", "prefix")
        )
    )
    namespace = stream if not depth else draw(st.sampled_from(NAMESPACES))
    if not depth:
        name = "message"
    head, tag, inside = "", name, default
    if way in ("default", "disguised"):
        text = escape(namespace)
        if way == "disguised":
            text = text.replace("b", "&#98;")
        head, inside = f" xmlns='{text}'", namespace
    elif way == "prefix" and namespace:
        tag, head = f"p:{name}", f" xmlns:p='{escape(namespace)}'"
    content = escape(draw(st.sampled_from(TEXTS)))
    if depth < 3:
        for child in draw(st.lists(elements(stream, depth + 1, inside or " "), max_size=2)):
            content += child + escape(draw(st.sampled_from(TEXTS)))
    return f"<{tag}{head} a='1'>{content}</{tag}>"


@given(elements(CLIENT))
def test_to_servers(text: str) -> None:
    raw = text.encode()
    became = parse(to_server(raw), LINK_HEADER)
    assert same(became, expected(parse(raw), CLIENT, SERVER))


@given(elements(SERVER))
def test_to_clients(text: str) -> None:
    raw = text.encode()
    became = parse(to_client(raw))
    assert same(became, expected(parse(raw, LINK_HEADER), SERVER, CLIENT))


@given(elements(CLIENT))
def test_there_and_back(text: str) -> None:
    raw = text.encode()
    there = to_server(raw)
    if not any(element.tag.startswith(f"{{{SERVER}}}") for element in parse(raw).iter()):
        assert same(parse(to_client(there)), parse(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"<message to='a@b'><body>Hi</body></message>",
        b"<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
        b"<presence/>",
    ],
)
def test_usual_bytes_are_not_touched(raw: bytes) -> None:
    assert to_server(raw) is raw
    assert to_client(raw) is raw


def test_what_is_forwarded_stays_what_it_is() -> None:
    inner = b"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></forwarded>"
    tree = parse(to_server(b"<message>" + inner + b"</message>"), LINK_HEADER)
    assert tree.tag == "{jabber:server}message"
    assert tree[0][0].tag == "{jabber:client}message"


def test_what_inherits_inside_another_namespace_keeps_its_own() -> None:
    raw = b"<message><p:x xmlns:p='urn:x'><body/></p:x></message>"
    assert parse(to_server(raw), LINK_HEADER)[0][0].tag == "{jabber:client}body"
    assert parse(to_client(raw))[0][0].tag == "{jabber:server}body"

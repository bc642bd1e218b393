"""Between `jabber:client` and `jabber:server`: stanzas as bytes, checked against trees."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgd.wire.border import LINK_HEADER, to_server
from msgd.wire.errors import StreamError
from msgd.wire.xml import escape, expanded, parse
from msgd.wire.xmlstream import Frame, Header, Limits, LinkStream

CLIENT, SERVER = "jabber:client", "jabber:server"
NAMESPACES = (CLIENT, SERVER, "urn:x", "urn:jabber:client", "")
NAMES = ("message", "body", "x")
TEXTS = ("", "hi", "jabber:client", "jabber:server", "a&b<c>:d", "\r\n", "é")


class Listener:
    """The end of a link, in whose place a client is."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error: StreamError | None = None

    def frame_received(self, *frame: Any) -> None:
        """See Listener."""
        self.frames.append(frame)

    def stream_failed(self, error: StreamError) -> None:
        """See Listener."""
        self.error = error

    def stream_opened(self, header: Header) -> None:
        """See Listener."""

    def nothing(self) -> None:
        """See Listener."""

    stream_closed = connection_lost = output_drained = nothing


def read(*pieces: bytes, header: bytes = LINK_HEADER) -> list[Frame]:
    """What a link makes of the bytes. Raises StreamError."""
    listener = Listener()
    stream = LinkStream(listener, Limits(100_000, 1000))
    for piece in (header, *pieces):
        stream.data_received(piece)
    if listener.error is not None:
        raise listener.error
    return listener.frames


def to_client(raw: bytes) -> bytes:
    """The bytes for clients of a stanza that comes over a link."""
    [(name, _, children, became)] = read(raw)
    tree = parse(became)
    assert name == expanded(tree.tag)
    assert children == tuple(expanded(child.tag) for child in tree)
    return became


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
    if stream == SERVER:
        head += draw(st.sampled_from(("", "", " db:a='2'", " stream:a='2'")))
        if depth and not head and draw(st.integers(0, 9)) == 0:
            tag, inside = "db:x", default
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


def test_prefixes_of_the_header_are_not_left_to_clients() -> None:
    raw = b"<message db:x='1' a='2'><body stream:y='3'/></message>"
    assert same(parse(to_client(raw)), expected(parse(raw, LINK_HEADER), SERVER, CLIENT))


def test_one_that_comes_in_pieces_is_looked_at_as_a_whole() -> None:
    raw = b"<message><body xmln", b"s='jabber:ser", b"ver'>jabber:client</body></message><message/>"
    [first, second] = read(*raw)
    assert parse(first[3])[0].tag == "{jabber:client}body"
    assert first[:3] == ("jabber:client message", {}, ("jabber:client body",))
    assert second == ("jabber:client message", {}, (), b"<message/>")


def test_one_that_is_suspect_among_others() -> None:
    forwarded = b"<message><x xmlns='urn:x'><message xmlns='jabber:client'/></x></message>"
    other = b"<message xmlns='jabber:server'><body/></message>"
    frames = read(b"<message/>" + forwarded + other)
    assert [frame[0] for frame in frames] == ["jabber:client message"] * 3
    assert [frame[3] for frame in frames] == [b"<message/>", forwarded, b"<message><body/></message>"]


@pytest.mark.parametrize(
    "raw",
    [
        b"<message xmlns='jabber:client'/>",
        b"<message xmlns='jabber&#58;client'/>",
        b"<c:iq xmlns:c='jabber:client'/>",
    ],
)
def test_stanzas_of_clients_are_none_of_servers(raw: bytes) -> None:
    with pytest.raises(StreamError) as caught:
        read(raw)
    assert caught.value.condition == "invalid-namespace"


def test_stanzas_inside_a_header_with_other_prefixes() -> None:
    header = LINK_HEADER[:-1] + b" xmlns:p='jabber:server'>"
    [frame] = read(b"<p:message><p:body/><body/></p:message>", header=header)
    children = ("jabber:client body", "jabber:client body")
    assert frame == ("jabber:client message", {}, children, b"<message><body/><body/></message>")


def test_what_is_no_stanza_keeps_its_namespace() -> None:
    [frame, other] = read(b"<x/><db:result><y/></db:result>")
    assert frame[0] == "jabber:server x"
    assert other[0] == "jabber:server:dialback result"
    assert other[2] == ("jabber:server y",)
    assert other[3] == b"<result xmlns='jabber:server:dialback'><y xmlns='jabber:server'/></result>"

"""Stanzas: the bytes that are forwarded say what the client's said."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msgd.wire.errors import StanzaError
from msgd.wire.jid import JID
from msgd.wire.stanza import Stanza
from msgd.wire.xml import parse, serialise
from tests.wire.test_xmlstream import HEADER, hear

ROMEO = JID.parse("romeo@localhost/orchard")
JULIET = JID.parse("juliet@localhost")
PREFIX = b" from='romeo@localhost/orchard'"

_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
)
_NAME = st.sampled_from(["a", "b", "body", "message", "x-y"])
_SPACE = st.sampled_from(["jabber:client", "urn:one", "urn:two", ""])


@st.composite
def _elements(draw: st.DrawFn, depth: int = 3) -> Element:
    space = draw(_SPACE)
    made = Element(f"{{{space}}}{draw(_NAME)}" if space else draw(_NAME))
    for name, value in draw(
        st.dictionaries(st.sampled_from(["id", "k", "{urn:one}k"]), _TEXT, max_size=3)
    ).items():
        made.set(name, value)
    made.text = draw(_TEXT)
    for child in draw(st.lists(_elements(depth - 1), max_size=2)) if depth else ():
        child.tail = draw(_TEXT)
        made.append(child)
    return made


def _same(one: Element, other: Element) -> bool:
    return (
        one.tag == other.tag
        and one.attrib == other.attrib
        and (one.text or "") == (other.text or "")
        and (one.tail or "") == (other.tail or "")
        and len(one) == len(other)
        and all(map(_same, one, other))
    )


@given(_elements())
def test_what_is_written_is_read_again(content: Element) -> None:
    message = Element("{jabber:client}message")
    message.append(content)
    assert _same(parse(serialise(message)), message)


@given(_elements(), st.sampled_from(["", "from='x@localhost' ", "xml:lang='de' "]))
def test_stamping_changes_the_sender_and_nothing_else(content: Element, more: str) -> None:
    message = Element("{jabber:client}message", {"id": "1", "to": JULIET})
    message.append(content)
    raw = serialise(message).replace(b"<message ", f"<message {more}".encode(), 1)
    stanza = Stanza.from_bytes(raw)
    stanza.attributes |= {"from": "x@localhost"} if "from" in more else {}
    stanza.stamp(PREFIX, ROMEO)
    again = parse(stanza.raw)
    assert again.get("from") == ROMEO
    assert again.get("to") == JULIET
    assert again.get("id") == "1"
    assert _same(again[0], content)


@pytest.mark.parametrize(
    "raw",
    [
        b"<message/>", b"<message />", b"<message></message>", b"<message></message >",
        b"<message id='>'/>", b"<message id='a' ><body>/></body></message\n>",
        b"<message xmlns:p='urn:p'><p:a/></message>",
    ],
)  # fmt: skip
def test_a_child_is_added_as_the_last(raw: bytes) -> None:
    before = parse(raw)
    after = Stanza.from_bytes(raw).with_child(b"<last xmlns='urn:l'/>", "urn:l last")
    tree = parse(after.raw)
    assert tree[-1].tag == "{urn:l}last"
    assert [child.tag for child in tree][:-1] == [child.tag for child in before]
    assert after.has("urn:l", "last")


def test_another_recipient_gets_the_same_content() -> None:
    raw = b"<message to='juliet@localhost' id='1' xmlns:p='urn:p'><p:a p:b='1'/>text</message>"
    copy = Stanza.from_bytes(raw).addressed(ROMEO)
    tree = parse(copy.raw)
    assert tree.get("to") == ROMEO
    assert tree[0].tag == "{urn:p}a"
    assert tree[0].get("{urn:p}b") == "1"


def test_filtered_leaves_out_what_is_not_wanted() -> None:
    raw = b"<message><a xmlns='urn:a'/>text<b xmlns='urn:b'/></message>"
    kept = Stanza.from_bytes(raw).filtered(lambda child: child.tag != "{urn:a}a")
    assert kept.children == ("urn:b b",)


def test_an_error_goes_back_with_what_it_is_about() -> None:
    raw = (
        b"<iq type='get' id='q' from='romeo@localhost/orchard' to='juliet@localhost'><a xmlns='urn:a'/></iq>"
    )
    error = Stanza.from_bytes(raw).error(StanzaError("item-not-found"))
    tree = parse(error.raw)
    assert (tree.get("from"), tree.get("to"), tree.get("type")) == (JULIET, ROMEO, "error")
    assert [child.tag for child in tree] == ["{urn:a}a", "{jabber:client}error"]


def test_no_content_is_shown_where_defects_are() -> None:
    stanza = Stanza.from_bytes(b"<message id='secret'><body>secret</body></message>")
    assert "secret" not in repr(stanza)


@given(_elements())
def test_what_the_framer_hears_means_what_was_sent(content: Element) -> None:
    """P8: bytes in, bytes out, the same meaning, whatever prefixes the client chose."""
    message = Element("{jabber:client}message")
    SubElement(message, "{urn:one}first")
    message.append(content)
    sent = serialise(message)
    frames = hear(HEADER, sent).frames
    assert _same(parse(frames[0][3]), message)

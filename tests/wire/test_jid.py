"""Addresses: RFC 7622, and what a stranger may try with them."""

import html
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from msgd.wire.jid import JID, JIDError

PREPARED = [
    # RFC 7622 §3.5, examples 1 to 15
    ("juliet@example.com", "juliet", "example.com", ""),
    ("juliet@example.com/foo", "juliet", "example.com", "foo"),
    ("juliet@example.com/foo bar", "juliet", "example.com", "foo bar"),
    ("juliet@example.com/foo@bar", "juliet", "example.com", "foo@bar"),
    ("foo\\20bar@example.com", "foo\\20bar", "example.com", ""),
    ("fussball@example.com", "fussball", "example.com", ""),
    ("fu\u00dfball@example.com", "fu\u00dfball", "example.com", ""),
    ("\u03c0@example.com", "\u03c0", "example.com", ""),
    ("\u03a3@example.com/foo", "\u03c3", "example.com", "foo"),
    ("\u03c3@example.com/foo", "\u03c3", "example.com", "foo"),
    ("\u03c2@example.com/foo", "\u03c2", "example.com", "foo"),
    ("king@example.com/\u265a", "king", "example.com", "\u265a"),
    ("example.com", "", "example.com", ""),
    ("example.com/foobar", "", "example.com", "foobar"),
    ("a.example.com/b@example.net", "", "a.example.com", "b@example.net"),
    # one address, several spellings
    ("Juliet@EXAMPLE.com/Foo", "juliet", "example.com", "Foo"),
    ("juliet@example.com.", "juliet", "example.com", ""),
    ("juliet@example.com./x", "juliet", "example.com", "x"),
    ("\uff4auliet@\uff45xample\uff0ecom", "juliet", "example.com", ""),
    ("a@example\u3002com", "a", "example.com", ""),
    ("a@example\uff61com", "a", "example.com", ""),
    ("a@xn--bcher-kva.example", "a", "b\u00fccher.example", ""),
    ("a@XN--BCHER-KVA.example", "a", "b\u00fccher.example", ""),
    ("a@BU\u0308CHER.example", "a", "b\u00fccher.example", ""),
    ("a@fa\u00df.de", "a", "fa\u00df.de", ""),
    ("a@\u0391\u03a3.gr", "a", "\u03b1\u03c2.gr", ""),
    ("A\u030angstrom@e/A\u030a", "\u00e5ngstrom", "e", "\u00c5"),
    ("a@e/b\u00a0c", "a", "e", "b c"),
    ("a@192.0.2.1", "a", "192.0.2.1", ""),
    ("a@[2001:DB8:0:0:0:0:0:1]", "a", "[2001:db8::1]", ""),
    ("a@[::1]/b", "a", "[::1]", "b"),
    ("a@\u05d0\u05d1.\u05d2", "a", "\u05d0\u05d1.\u05d2", ""),
    ("a@e//", "a", "e", "/"),
    ("a@e/@", "a", "e", "@"),
]

REFUSED = [
    "", "/", "//", "@", "@@", "@/", "a@", "@b", "a@b/", "b/", "/r", "a@/r", "@b/r", "a@@b", "a@b@c",
    # RFC 7622 §3.5, examples 16 to 24
    '"juliet"@example.com', "foo bar@example.com", "juliet@example.com/ \u0001", "@example.com/",
    "henry\u2163@example.com", "\u265a@example.com", "juliet@", "/foobar",
    # forbidden in the localpart, also when they appear by width mapping
    "a'b@c", "a&b@c", "a:b@c", "a<b@c", "a>b@c", "a\uff20b@c", "a\uff0fb@c", "a\uff1ab@c",
    # domains
    "a@b..c", "a@.b", "a@b..", "a@.", "a@-b", "a@b-", "a@b_c", "a@b c", "a@b:5222", "a@b\n",
    "a@" + "b" * 64, "a@" + "\u00fc" * 63, "a@ab--cd", "a@b!", "a@\uff01", "a@b\u2044c",
    # A-labels that are lies: of ASCII, not canonical, of upper case, of what is not allowed, of nothing
    "a@xn--abc-", "a@xn--a", "a@xn--", "a@xn---bbk", "a@xn--Bcher-Kva8445foa", "a@xn--\u00fc",
    "a@xn--zzzzzzzzzzzzzzzzz", "a@xn--ls8h",
    # IP literals
    "a@[::1", "a@[::1]x", "a@::1", "a@[::g]", "a@[fe80::1%eth0]", "a@[]", "a@[192.0.2.1]",
    # directions of writing
    "a\u05d0@b", "\u05d0a@b", "a@\u05d0a.b", "a@\u05d0.3com",
    # unassigned, private, surrogate, control, invisible
    "\u0378@b", "a@\u0378", "a@b/\u0378", "\ue000@b", "a@b/\ue000", "\ud800@b", "a@\ud800",
    "a@b/\ud800", "a\u0000@b", "a@b/\u0000", "a@b/\u0085", "a\u00ad@b", "a@b/\u200b", "a\u200db@c",
    "a@b/\ufeff", "a\n@b", "a@b/\ufffe",
]  # fmt: skip


@pytest.mark.parametrize(("text", "local", "domain", "resource"), PREPARED)
def test_is_prepared(text: str, local: str, domain: str, resource: str) -> None:
    jid = JID.parse(text)
    assert (jid.local, jid.domain, jid.resource) == (local, domain, resource)
    assert jid == JID.make(local, domain, resource)
    assert hash(jid) == hash(str(jid))


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
def test_is_refused_with_a_reason_that_does_not_repeat_it(text: str) -> None:
    with pytest.raises(JIDError) as refusal:
        JID.parse(text)
    assert 0 < len(str(refusal.value)) < 100


@pytest.mark.parametrize("character", ["a", "\u00fc", "\u8336", "A\u030a", "\uff41"])
def test_each_part_may_have_1023_octets_after_preparation(character: str) -> None:
    for form in ("{}@b", "b/{}", "a@b/{}"):
        prepared = JID.parse(form.format(character))
        octets = len((prepared.resource or prepared.local).encode())
        most = 1023 // octets
        jid = JID.parse(form.format(character * most))
        assert len((jid.resource or jid.local).encode()) == most * octets
        with pytest.raises(JIDError, match="octets|long"):
            JID.parse(form.format(character * (most + 1)))


def test_a_domain_may_have_1023_octets() -> None:
    domain = ".".join(["a" * 63] * 16)
    assert JID.parse(f"a@{domain}").domain == domain
    assert JID.parse(f"a@{domain}./r").domain == domain
    for longer in (domain + ".a", "\u00fc." * 400 + "a"):
        with pytest.raises(JIDError):
            JID.parse(longer)


def test_the_largest_address_is_whole() -> None:
    text = "a" * 1023 + "@" + ".".join(["b" * 63] * 16) + "/" + "c" * 1023
    assert len(text) == 3071
    assert JID.parse(text) == text


def test_parts_of_an_address() -> None:
    jid = JID.parse("romeo@montague.example/orchard")
    assert jid.bare == "romeo@montague.example"
    assert jid.bare is jid.bare
    assert jid.bare.bare is jid.bare
    assert jid.bare.is_bare
    assert not jid.is_bare
    assert jid.domain_jid == "montague.example"
    assert jid.domain_jid.domain_jid == jid.domain_jid
    assert jid.with_resource("a\u00a0b") == "romeo@montague.example/a b"
    assert jid.bare.with_resource("x").bare == jid.bare
    with pytest.raises(JIDError):
        jid.with_resource("")
    with pytest.raises(JIDError):
        jid.with_resource("\u0007")


def test_an_address_is_a_string_in_dictionaries() -> None:
    jid = JID.parse("Romeo@montague.example")
    by_address: dict[str, int] = {jid: 1}
    assert by_address["romeo@montague.example"] == 1
    assert jid in {"romeo@montague.example"}
    assert JID("Romeo@montague.example") == jid
    assert not hasattr(jid, "__dict__")


def test_attribute_is_escaped_for_either_quote() -> None:
    jid = JID.parse("r@m.example/<&>'\"\u00e9")
    assert jid.attribute == "r@m.example/&lt;&amp;&gt;&apos;&quot;\u00e9".encode()
    assert html.unescape(jid.attribute.decode()) == jid
    assert JID.parse("r@m.example/x").attribute == b"r@m.example/x"


# Characters with which preparation has something to do, beside any at all.
_characters = st.one_of(
    st.sampled_from("aA1-._ @/\u00e9E\u0301\u00df\u03a3\u03c2\u0130\u01c5\u212b\u00a0\uff41\uff21"),
    st.sampled_from("\u05d0\u0627\u0660\u06f0\u30fb\u30a2\u200c\u200d\u0375\u03b1\u05f3\u3002\uff0e"),
    st.characters(codec="utf-8"),
)
_texts = st.text(_characters, min_size=1, max_size=12)


@given(_texts)
@example("\u0130@\u0130/\u0130")
@settings(max_examples=500, deadline=None)
def test_prepared_twice_is_prepared_once(text: str) -> None:
    for address in (text, f"{text}@b", f"a@{text}", f"a@b/{text}"):
        try:
            jid = JID.parse(address)
        except JIDError:
            continue
        again = JID.parse(str(jid))
        assert again == jid
        assert (again.local, again.domain, again.resource) == (jid.local, jid.domain, jid.resource)


@given(_texts)
@settings(max_examples=200, deadline=None)
def test_parts_hold_what_their_place_allows(text: str) -> None:
    try:
        jid = JID.parse(text)
    except JIDError:
        return
    assert not set(jid.local) & set("\"&'/:<>@ ")
    assert not set(jid.domain) & set("\"&'/<>@ ")
    assert jid.encode()


@pytest.mark.parametrize(
    "text",
    [
        "\u0627" + "\u0660" * 510 + "@b",
        "a@b/" + "\u0660" * 511,
        "a@b/" + "\u30fb" * 340 + "\u30a2",
        "a@b/" + "a\u0660" * 340,
        "a@" + "a-" * 511 + "!",
        "a." * 511 + "!",
        "a@b/" + "\u0628\u200c" * 200 + "\u0628",
        "\u05d0." * 340 + "b",
        "a" * 1_000_000,
        "\u00fc" * 1_000_000,
        "a@" + "[" * 1_000_000,
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_no_address_takes_long(text: str) -> None:
    fastest = 1.0
    for _ in range(3):
        start = time.process_time()
        try:
            JID.parse(text)
        except JIDError:
            pass
        fastest = min(fastest, time.process_time() - start)
    assert fastest < 0.02

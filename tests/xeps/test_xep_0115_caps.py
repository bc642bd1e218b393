"""The verification string: the example of the XEP, and what must not change it."""

from msgd.routing.extension import Identity, Information
from msgd.xeps.data_forms import result_form
from msgd.xeps.xep_0115_caps import verification_string

EXODUS = Identity("client", "pc", "Exodus 0.9.1")
FEATURES = (
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "http://jabber.org/protocol/muc",
)


def test_simple_example() -> None:
    """XEP-0115 §5.2."""
    assert verification_string(Information((EXODUS,), FEATURES)) == "QgayPKawpkPSDYmwT/WM94uAlu0="


def test_order_does_not_matter() -> None:
    one = result_form("urn:a", {"x": ["1", "2"], "y": ["3"]})
    other = result_form("urn:b", {})
    turned = result_form("urn:a", {"y": ["3"], "x": ["2", "1"]})
    identities = (EXODUS, Identity("account", "registered"))
    assert verification_string(Information(identities, FEATURES, (one, other))) == (
        verification_string(Information(identities[::-1], FEATURES[::-1], (other, turned)))
    )


def test_everything_told_counts() -> None:
    form = result_form("urn:a", {"x": ["1"]})
    strings = {
        verification_string(Information((EXODUS,), FEATURES)),
        verification_string(Information((EXODUS,), FEATURES[1:])),
        verification_string(Information((Identity("client", "pc", "Exodus 1.0"),), FEATURES)),
        verification_string(Information((EXODUS,), FEATURES, (form,))),
        verification_string(Information((EXODUS,), FEATURES, (result_form("urn:b", {"x": ["1"]}),))),
        verification_string(Information((EXODUS,), FEATURES, (result_form("urn:a", {"x": ["2"]}),))),
    }
    assert len(strings) == 6


def test_sorted_by_octets() -> None:
    """'i;octet' collation: U+FF5E comes before U+10000 in UTF-8, but after it in UTF-16."""
    first = result_form("urn:a", {"x": ["\uff5e", "\U00010000"]})
    second = result_form("urn:a", {"x": ["\U00010000", "\uff5e"]})
    assert verification_string(Information((), (), (first,))) == (
        verification_string(Information((), (), (second,)))
    )

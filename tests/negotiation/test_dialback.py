"""Dialback keys: the example of XEP-0185, and what must not be taken for it."""

from __future__ import annotations

import pytest

from msgd.negotiation.dialback import Keys, addresses
from msgd.wire.errors import StreamError

KEYS = Keys(b"s3cr3tf0rd14lb4ck")
KEY = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"


def test_the_example() -> None:
    assert KEYS.key("xmpp.example.com", "example.org", "D60000229F") == KEY
    assert KEYS.are(f"\n  {KEY} ", "xmpp.example.com", "example.org", "D60000229F")


@pytest.mark.parametrize(
    ("receiving", "originating", "id"),
    [
        ("example.org", "xmpp.example.com", "D60000229F"),
        ("xmpp.example.com", "example.org", "D60000229E"),
        # CVE-2016-0756: the parts must not run together.
        ("xmpp.example.come", "xample.org", "D60000229F"),
        ("xmpp.example.com", "example.orgD", "60000229F"),
    ],
)
def test_everything_counts(receiving: str, originating: str, id: str) -> None:
    assert not KEYS.are(KEY, receiving, originating, id)
    assert not Keys(b"other").are(KEY, "xmpp.example.com", "example.org", "D60000229F")


@pytest.mark.parametrize(
    "found",
    [{}, {"from": "a.example"}, {"from": "a.example", "to": "x@b.example"}, {"from": "a..b", "to": "b"}],
)
def test_only_domains_ask(found: dict[str, str]) -> None:
    with pytest.raises(StreamError):
        addresses(found)

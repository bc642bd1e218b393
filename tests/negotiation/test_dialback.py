"""Dialback keys: the example of XEP-0185, and what must not be taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from twisted.internet.defer import Deferred

from msgd.negotiation.dialback import Keys, Receiving, addresses
from msgd.negotiation.link_outcome import LinkFault
from msgd.wire.errors import StreamError
from msgd.wire.jid import JID

if TYPE_CHECKING:
    from msgd.negotiation.link_server import LinkServer

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


class Verifying:
    """Enough of a server: allows everybody, and awaits what the others' servers say."""

    def __init__(self) -> None:
        self.keys, self.policy = KEYS, self
        self.asked: dict[str, Deferred[bool]] = {}

    def domain(self, text: str) -> JID | None:
        """All domains of one name are ours."""
        return JID.parse(text) if text == "ours.example" else None

    def permits(self, domain: str) -> bool:
        """Yes."""
        return True

    dialback = permits

    def refused(self, domain: str, address: str, why: str) -> None:
        """Whatever."""

    def verify(self, ours: JID, theirs: JID, id: str, key: str) -> Deferred[bool]:
        """It is asked, once."""
        assert theirs not in self.asked
        self.asked[theirs] = Deferred()
        return self.asked[theirs]


def test_ten_thousand_domains_on_one_stream_are_some_questions() -> None:
    server, written, proved = Verifying(), list[bytes](), list[JID]()
    stream = Receiving(
        cast("LinkServer", server),
        "id",
        written.append,
        lambda domain: False,
        lambda theirs, ours: proved.append(theirs),
    )

    def result(number: int) -> None:
        addresses = {"from": f"d{number}.example", "to": "ours.example"}
        stream.take("result", addresses, b"<result>key</result>")

    for number in range(10_000):
        result(number)
    asked = len(server.asked)
    assert asked <= 50
    assert len(written) == 10_000 - asked
    assert all(b"resource-constraint" in each for each in written)
    written.clear()

    result(0)  # once more, while it is looked into
    assert b"resource-constraint" in written.pop()
    server.asked["d0.example"].callback(True)
    server.asked["d1.example"].callback(False)
    server.asked["d2.example"].errback(LinkFault("DNS", "nobody", "remote-server-not-found"))
    assert [b"'valid'" in each for each in written] == [True, False, False]
    assert b"forbidden" in written[1] and b"remote-server-not-found" in written[2]
    written.clear()
    result(0)  # known
    result(9999)  # for which there is room now
    assert [b"'valid'" in each for each in written] == [True]
    assert proved == ["d0.example"] and "d9999.example" in server.asked

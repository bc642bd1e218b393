"""Python functions that are called for one message between two servers, on either of them.

From the bytes of its sender, or of the other server, to those for the next socket, and back with the
acknowledgement of the link. The figures are of the code as it is; see `test_calls.py`.
"""

from __future__ import annotations

from typing import Any, cast

from msgd.links import Links
from msgd.negotiation.dialback import Dialback
from msgd.routing.link import Link
from msgd.routing.link_management import LinkManagement
from msgd.wire.jid import JID
from msgd.wire.tls import ServerContexts
from msgd.wire.xmlstream import Limits, LinkStream, XMLStream
from tests.routing.world import World
from tests.work.test_calls import MESSAGES, Socket, Talk, check, counted, with_spool, world

__all__ = ["with_spool", "world"]  # fixtures

#: Sent to another server, and its acknowledgement; received from there.
_SENT = 65
_RECEIVED = 42
THERE = JID.parse("there.example")


class LinkSocket(Socket):
    """Shows no certificate."""

    certificate = None
    rate_limit: Any = None


def linked(world: World) -> XMLStream:
    """The stream of a link of the server of `world`, which goes both ways and is managed."""
    router = world.router
    links = Links(router.config, world.clock, router, ServerContexts(), b"x")
    router.table.elsewhere = links
    stream = LinkStream(cast(Any, None), Limits(262_144, 1000))
    stream._unread = None  # the header is read
    pair = JID.parse("localhost"), THERE
    link = Link(
        links, cast(Any, LinkSocket()), stream, pair, Dialback(None, None),
        incoming=True, both_ways=True, proof="EXTERNAL", lang="en", largest=0,
    )  # fmt: skip
    link.management = LinkManagement(link)
    links.links[link] = None
    link.attach()
    link.authorize(THERE, pair[0])
    return stream


def test_calls_for_a_message_to_another_server(with_spool: World) -> None:
    talk, link = Talk(with_spool, managed=False), linked(with_spool)

    def go_on(numbers: range) -> None:
        for number in numbers:
            said = b"<message to='nurse@there.example/house' type='chat' id='%d'><body>%s</body></message>"
            talk.romeo.data_received(said % (number, b"x" * 80))
            link.data_received(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % (number + 1))

    go_on(range(10))  # caches fill
    check(counted(lambda: go_on(range(10, 10 + MESSAGES))), _SENT)


def test_calls_for_a_message_from_another_server(with_spool: World) -> None:
    Talk(with_spool, managed=False)
    link = linked(with_spool)

    def go_on(numbers: range) -> None:
        for number in numbers:
            said = (
                b"<message from='nurse@there.example/house' to='juliet@localhost/balcony' id='%d'>"
                b"<body>%s</body></message>"
            )
            link.data_received(said % (number, b"x" * 80))

    go_on(range(10))  # caches fill
    check(counted(lambda: go_on(range(10, 10 + MESSAGES))), _RECEIVED)
